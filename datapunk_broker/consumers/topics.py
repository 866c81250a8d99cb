"""Look at a topic or a durable subscription before it is read: whether it is there, and what its messages match by."""

from dataclasses import dataclass
from datetime import UTC, datetime

from datapunk_broker import broker, frames, rights
from datapunk_broker.conf import get_config, is_name
from datapunk_broker.consumers.filters import Filter
from datapunk_broker.exceptions import (
    ConfigInvalidError,
    NotPersistentError,
    SubscriptionNotFoundError,
    TopicNotFoundError,
)
from datapunk_broker.models import Subscription, Topic
from datapunk_broker.rights import Action, Somebody
from datapunk_broker.states import TopicType, Transport


@dataclass(frozen=True, slots=True)
class Found:
    """A topic that can be read. is_kept: it has a stream, else its messages are stored nowhere."""

    name: str
    type: TopicType
    is_kept: bool


@dataclass(frozen=True, slots=True)
class Start:
    """Where a reader begins: behind ``position``; oldest and head are None where there are no positions."""

    topic: Found
    oldest: int | None
    head: int | None
    position: int
    filter: Filter | None


def find(name: str) -> Found:
    """Return a topic. Raises TopicNotFoundError; ConfigInvalidError when it stores messages but has no stream."""
    row = Topic.objects.using(get_config().database).live().filter(name=name).first() if is_name(name) else None
    if row is None:
        raise TopicNotFoundError(name)
    is_kept = get_config().enable_persistence if row.persistent is None else row.persistent
    if is_kept and not row.stream:
        raise ConfigInvalidError("stream", f"is off for {name!r}: there is nothing to read as it comes")
    return Found(name, TopicType(row.type), is_kept)


def start_of(user: Somebody, wish: frames.Subscribe) -> Start:
    """Return where a reader of a topic's stream begins; raises BrokerError for what it may not or cannot."""
    name = wish.topic or ""
    require(user, Action.SUBSCRIBE, name)
    topic = find(name)
    chosen = Filter.of(topic.type, wish.routing_key, wish.headers)
    if not topic.is_kept:
        if wish.start != "latest":
            raise NotPersistentError(name, "a start from anything but latest")
        return Start(topic, None, None, 0, chosen)
    ends = broker.stream_ends(name)
    if isinstance(wish.start, frames.Point):
        return Start(topic, ends.oldest, ends.head, _position(name, wish.start, ends.oldest), chosen)
    position = ends.head if wish.start == "latest" else ends.oldest - 1
    return Start(topic, ends.oldest, ends.head, position, chosen)


def topic_of_pull(user: Somebody, name: str) -> str:
    """Return the topic of a durable pull subscription that somebody may take messages from; raises BrokerError."""
    rows = Subscription.objects.using(get_config().database).listed().select_related("topic")
    row = rows.filter(name=name).first() if is_name(name) else None
    if row is None or not rights.may_see(user, row.topic.name):
        raise SubscriptionNotFoundError(name)
    rights.require(user, Action.SUBSCRIBE, row.topic.name)
    if row.transport != Transport.PULL:
        raise ConfigInvalidError("transport", f"of {name!r} is {row.transport}: its messages cannot be pulled as well")
    return row.topic.name


def require(user: Somebody, action: Action, topic: str) -> None:
    """Refuse what somebody may not do, and what is the name of no topic."""
    if not is_name(topic):
        raise TopicNotFoundError(topic)
    rights.require(user, action, topic)


def _position(topic: str, point: frames.Point, oldest: int) -> int:
    if isinstance(point.position, int):
        return point.position
    seconds = point.time if isinstance(point.time, float) else None
    moment = point.time if isinstance(point.time, datetime) else datetime.fromtimestamp(seconds or 0.0, UTC)
    position = broker.position_at(topic, moment)
    # Of what was published then, some may lie before the oldest that is kept: to begin there is a reset.
    return position - 1 if 0 < position < oldest else position
