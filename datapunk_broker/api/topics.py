"""Topics: list, make, read, change and delete them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType
from rest_framework.request import Request
from rest_framework.response import Response

from datapunk_broker import broker, rights
from datapunk_broker.api.described import operation
from datapunk_broker.api.door import Door, rows
from datapunk_broker.api.fields import Count, Name, Object, SomeCount, plain
from datapunk_broker.api.pagination import Order, Page, Paged, page
from datapunk_broker.api.reading import asked, parsed
from datapunk_broker.conf import BrokerConfig, TopicConfig, get_config
from datapunk_broker.conf.options import CENTURY
from datapunk_broker.exceptions import TopicNotFoundError
from datapunk_broker.models import Topic
from datapunk_broker.rights import Action, Managing, Right, Somebody
from datapunk_broker.states import DeliveryMode, Overflow, TopicType

LINKS = {key: {"name": "/name"} for key in ("read_topic", "change_topic", "delete_topic", "publish", "list_messages")}
BY_NAME = Order({"name": Name})

Hours = Annotated[float, Meta(ge=0, le=CENTURY.total_seconds() / 3600)]


class TopicChanges(Struct, kw_only=True, forbid_unknown_fields=True):
    """Options of a topic; null, or leaving one out of a new topic, takes the settings' default."""

    name: Name | UnsetType = UNSET
    type: TopicType | UnsetType | None = UNSET
    delivery_mode: DeliveryMode | UnsetType | None = UNSET
    persistent: bool | UnsetType | None = UNSET
    max_message_size: SomeCount | UnsetType | None = UNSET
    max_queue_size: Count | UnsetType | None = UNSET
    overflow: Overflow | UnsetType | None = UNSET
    max_subscribers: SomeCount | UnsetType | None = UNSET
    retention_hours: Hours | UnsetType | None = UNSET
    compression_threshold: Count | UnsetType | None = UNSET
    schema: Object | bool | UnsetType | None = UNSET
    stream: bool | UnsetType = UNSET
    dead_letter_topic: Name | UnsetType | None = UNSET
    history: bool | UnsetType = UNSET


class NewTopic(TopicChanges, kw_only=True, forbid_unknown_fields=True):
    """A topic to be made."""

    name: Name


class ShownTopic(Struct, kw_only=True):
    """A topic, every option as it is in force; ``inherited`` names those that the settings decide."""

    name: str
    type: TopicType
    delivery_mode: DeliveryMode
    persistent: bool
    max_message_size: int
    max_queue_size: int
    overflow: Overflow
    max_subscribers: int
    retention_hours: float
    compression_threshold: int
    schema: Object | bool | None
    stream: bool
    dead_letter_topic: str | None
    history: bool
    inherited: list[str]
    created_at: datetime
    updated_at: datetime


class TopicPage(Page, kw_only=True):
    """A page of topics, by name."""

    results: list[ShownTopic]


class Forced(Struct, kw_only=True):
    """How a topic is deleted."""

    force: Annotated[bool, Meta(description="Also while messages are pending.")] = False


def topic_for(user: Somebody, action: Right, name: str) -> Topic:
    """Return the topic, where somebody may do this with it; raises what ``rights.require`` does."""
    rights.require(user, action, name)
    topic = rows(Topic).filter(name=name, deleted_at=None).first()
    if topic is None:
        raise TopicNotFoundError(name)
    return topic


def seen_topic(user: Somebody, name: str) -> Topic:
    """Return the topic, where somebody may see it; raises TopicNotFoundError."""
    topic = rights.visible_topics(user, rows(Topic)).filter(name=name, deleted_at=None).first()
    if topic is None:
        raise TopicNotFoundError(name)
    return topic


def shown(topic: Topic) -> ShownTopic:
    """Return a topic as it is in force."""
    config = get_config()
    own = {name: getattr(topic, name) for name in ShownTopic.__struct_fields__ if name != "inherited"}
    defaults = _defaults(config)
    inherited = [name for name in defaults if own[name] is None]
    return ShownTopic(**{**own, **{name: defaults[name] for name in inherited}}, inherited=inherited)


def _defaults(config: BrokerConfig) -> dict[str, Any]:
    names = ("delivery_mode", "max_message_size", "max_queue_size", "overflow", "max_subscribers", "retention_hours")
    return {
        **{name: getattr(config, name) for name in names},
        "persistent": config.enable_persistence,
        "compression_threshold": config.compression_threshold if config.enable_compression else 0,
    }


class Topics(Door):
    """All topics."""

    room = "topics"

    @operation("list_topics", query=Paged, answers={200: TopicPage})
    def get(self, request: Request) -> Response:
        """List the topics that one may see."""
        live = rights.visible_topics(request.user, rows(Topic).filter(deleted_at=None))
        return Response(page(request, live, BY_NAME, asked(request, Paged), shown))

    @operation("create_topic", body=NewTopic, answers={201: ShownTopic}, links=LINKS)
    def post(self, request: Request) -> Response:
        """Make a topic."""
        new = parsed(request, NewTopic)
        rights.require_to_create(request.user, new.name)
        _require_for_dead_letters(request, plain(new))
        return Response(shown(broker.create_topic(TopicConfig.from_dict(plain(new)))), 201)


def _require_for_dead_letters(request: Request, options: Mapping[str, Any]) -> None:
    """Copies of dead letters are published on behalf of who names the topic for them."""
    if target := options.get("dead_letter_topic"):
        rights.require(request.user, Action.PUBLISH, target)


class OneTopic(Door):
    """One topic."""

    room = "topics"

    @operation("read_topic", answers={200: ShownTopic})
    def get(self, request: Request, name: str) -> Response:
        """Read a topic."""
        return Response(shown(seen_topic(request.user, name)))

    @operation("change_topic", body=TopicChanges, answers={200: ShownTopic})
    def patch(self, request: Request, name: str) -> Response:
        """Change options of a topic; its name stays."""
        rights.require(request.user, Managing.CHANGE_TOPIC, name)
        changes = plain(parsed(request, TopicChanges))
        _require_for_dead_letters(request, changes)
        return Response(shown(broker.update_topic(name, changes)))

    @operation("delete_topic", query=Forced, answers={204: None}, problems={409: "messages are pending"})
    def delete(self, request: Request, name: str) -> Response:
        """Delete a topic and its subscriptions."""
        rights.require(request.user, Managing.DELETE_TOPIC, name)
        broker.delete_topic(name, force=asked(request, Forced).force)
        return Response(status=204)
