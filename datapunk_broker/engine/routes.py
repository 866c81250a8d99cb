"""Know each topic's compiled bindings, at the version that the database has."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Prefetch

from datapunk_broker.conf import BrokerConfig, get_config
from datapunk_broker.exceptions import TopicNotFoundError
from datapunk_broker.matching import Matcher, Rule, compile_rules, default_rules
from datapunk_broker.models import Binding, Subscription, Topic
from datapunk_broker.payload import compile_schema
from datapunk_broker.states import Overflow, TopicType, Transport

if TYPE_CHECKING:
    from datapunk_broker.payload import Validator

MAX_AGE = 5.0
"""Seconds that a route is used for, so that bindings written past the broker (raw SQL, loaddata) are seen too."""


@dataclass(frozen=True, slots=True)
class Route:
    """A topic as publishing needs it, its settings resolved.

    version: a random stamp, so that one read in a transaction that rolled back can never come round again.
    names: of the subscriptions by id. ordered: those that keep order per key. full: those at their limit.
    """

    topic_id: int
    topic: str
    version: int
    matcher: Matcher
    names: dict[int, str]
    transports: dict[int, str]
    ordered: tuple[int, ...]
    full: frozenset[int]
    stream: int | None
    persistent: bool
    max_message_size: int
    compression_threshold: int | None
    schema: "Validator | None"
    config: BrokerConfig
    loaded_at: float


_routes: dict[tuple[str, str], Route] = {}


def route_of(topic: str, using: str, *, fresh: bool = False) -> Route:
    """Return the topic's route, from memory while it is young.

    Raises TopicNotFoundError.
    """
    route = _routes.get((using, topic))
    if fresh or route is None or not _is_young(route):
        route = _routes[using, topic] = _load(topic, using)
    return route


def _is_young(route: Route) -> bool:
    return time.monotonic() - route.loaded_at <= MAX_AGE and route.config is get_config()


def is_current(route: Route, using: str) -> bool:
    """Return whether the topic still has the version that the route was made from."""
    return Topic.objects.using(using).live().filter(pk=route.topic_id, routing_version=route.version).exists()


def forget_routes() -> None:
    """Forget every route of this process."""
    _routes.clear()


def rules_of(subscription: Subscription, topic_type: TopicType) -> list[Rule]:
    """Return the rules under which a subscription gets messages (its bindings are prefetched)."""
    bindings = [
        Rule(subscription=subscription.pk, routing_key=b.routing_key, headers=b.headers)
        for b in subscription.bindings.all()
    ]
    return bindings or [default_rules(topic_type, subscription.pk, subscription.name)]


def subscriptions_of(topic: Topic, using: str) -> list[Subscription]:
    """Return the topic's live subscriptions with their bindings, the stream's included."""
    bindings = Prefetch("bindings", queryset=Binding.objects.using(using))
    return list(Subscription.objects.using(using).live().of_topic(topic).order_by("pk").prefetch_related(bindings))


def _load(name: str, using: str) -> Route:
    loaded_at = time.monotonic()
    topic = Topic.objects.using(using).live().named(name).first()
    if topic is None:
        _routes.pop((using, name), None)
        raise TopicNotFoundError(name)
    # The version was read before the bindings: a change in between only makes this route stale, never wrong.
    everyone = subscriptions_of(topic, using)
    return _compile(topic, everyone, loaded_at)


def _compile(topic: Topic, everyone: list[Subscription], loaded_at: float) -> Route:
    config = get_config()
    kind = TopicType(topic.type)
    stream = next((s.pk for s in everyone if s.transport == Transport.STREAM), None)
    people = [s for s in everyone if s.transport != Transport.STREAM]
    rejects = (topic.overflow or config.overflow) == Overflow.REJECT
    threshold = topic.compression_threshold
    if threshold is None:
        threshold = config.compression_threshold if config.enable_compression else 0
    return Route(
        topic_id=topic.pk,
        topic=topic.name,
        version=topic.routing_version,
        matcher=compile_rules(kind, (rule for s in people for rule in rules_of(s, kind))),
        names={s.pk: s.name for s in people},
        transports={s.pk: s.transport for s in people},
        ordered=tuple(s.pk for s in people if s.ordering),
        full=frozenset(s.pk for s in people if s.over_limit and rejects),
        stream=stream if topic.stream else None,
        persistent=config.enable_persistence if topic.persistent is None else topic.persistent,
        max_message_size=config.max_message_size if topic.max_message_size is None else topic.max_message_size,
        compression_threshold=threshold or None,
        schema=None if topic.schema is None else compile_schema(topic.schema),
        config=config,
        loaded_at=loaded_at,
    )
