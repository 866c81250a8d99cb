"""Subscriptions: list, make, read, change and delete them; hold them back, and move them in time."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar, cast

from django.db import transaction
from django.db.models import QuerySet
from msgspec import UNSET, Struct, UnsetType
from rest_framework.request import Request
from rest_framework.response import Response

from datapunk_broker import broker, rights
from datapunk_broker.api.described import operation
from datapunk_broker.api.door import Door
from datapunk_broker.api.fields import Name, Position, plain
from datapunk_broker.api.moments import Moment
from datapunk_broker.api.pagination import Order, Page, Paged, page
from datapunk_broker.api.reading import asked, parsed
from datapunk_broker.api.subscription_shapes import (
    NewSubscription,
    ShownSubscription,
    SubscriptionChanges,
    shown,
)
from datapunk_broker.conf import SubscriptionConfig, get_config
from datapunk_broker.exceptions import SubscriptionNotFoundError
from datapunk_broker.models import Subscription
from datapunk_broker.rights import Action, Managing, Right, Somebody
from datapunk_broker.states import SubscriptionState, Transport

FOLLOWERS = ("read_subscription", "change_subscription", "pause_subscription", "pull", "delete_subscription")
LINKS = {key: {"name": "/name"} for key in FOLLOWERS}
BY_NAME = Order({"name": Name})


class Subscriptions(Paged, kw_only=True):
    """The parameters of a list of subscriptions."""

    topic: Name | UnsetType = UNSET


class SubscriptionPage(Page, kw_only=True):
    """A page of subscriptions, by name."""

    results: list[ShownSubscription]


class Seek(Struct, kw_only=True, forbid_unknown_fields=True):
    """Where to: a moment, or a position in the topic's stream, which is what was last seen."""

    EITHER: ClassVar = ("time", "position")

    time: Moment | UnsetType = UNSET
    position: Position | UnsetType = UNSET


class Sought(Struct):
    """What a seek did: messages owed again, owed for the first time, and no longer owed."""

    rearmed: int
    recreated: int
    settled: int


def seen(user: Somebody) -> QuerySet[Subscription]:
    """Return the subscriptions that somebody may see, each with what is shown of it; two statements."""
    listed = Subscription.objects.using(get_config().database).listed()
    listed = listed.select_related("topic").prefetch_related("bindings")
    return rights.visible_topics(user, listed, prefix="topic")


def subscription_for(user: Somebody, action: Right, name: str) -> Subscription:
    """Return the subscription, where somebody may do this with its topic.

    Raises SubscriptionNotFoundError where they may not see it, PermissionDeniedError where they may not do it.
    """
    row = seen_subscription(user, name)
    rights.require(user, action, row.topic.name)
    return row


def seen_subscription(user: Somebody, name: str) -> Subscription:
    """Return the subscription, where somebody may see it; raises SubscriptionNotFoundError."""
    row = seen(user).filter(name=name).first()
    if row is None:
        raise SubscriptionNotFoundError(name)
    return row


def _keep(name: str, state: str | None) -> None:
    if state is not None:
        (broker.pause if state == SubscriptionState.PAUSED else broker.resume)(name)


def _require_for(user: Somebody, action: Right, topic: str, given: Mapping[str, Any]) -> None:
    """Refuse what somebody may not do; who sends a topic's messages to an address reads them."""
    rights.require(user, action, topic)
    if given.get("transport") == Transport.WEBHOOK or given.get("endpoint_url"):
        rights.require(user, Action.SUBSCRIBE, topic)


def _shown_to(user: Somebody) -> Callable[[Subscription], ShownSubscription]:
    """Return what shows subscriptions to somebody: an address, which may hold a key, to who may change it."""
    may_change = rights.judge(user, Managing.CHANGE_SUBSCRIPTION)
    return lambda row: shown(row, with_endpoint=may_change(row.topic.name))


class AllSubscriptions(Door):
    """All subscriptions."""

    room = "subscriptions"

    @operation("list_subscriptions", query=Subscriptions, answers={200: SubscriptionPage})
    def get(self, request: Request) -> Response:
        """List the subscriptions that one may see."""
        query, found = asked(request, Subscriptions), seen(request.user)
        if query.topic is not UNSET:
            found = found.filter(topic__name=query.topic)
        return Response(page(request, found, BY_NAME, query, _shown_to(request.user)))

    @operation("create_subscription", body=NewSubscription, answers={201: ShownSubscription}, links=LINKS)
    def post(self, request: Request) -> Response:
        """Subscribe to a topic. A webhook's secret is made when none is given, and shown this once."""
        given = plain(parsed(request, NewSubscription))
        _require_for(request.user, Managing.ADD_SUBSCRIPTION, given["topic"], given)
        state = given.pop("state", None)
        with transaction.atomic(using=get_config().database):
            made = broker.create_subscription(SubscriptionConfig.from_dict(given))
            _keep(made.name, state)
        return Response(shown(seen_subscription(request.user, made.name), secret=made.made_secret or UNSET), 201)


class OneSubscription(Door):
    """One subscription."""

    room = "subscriptions"

    @operation("read_subscription", answers={200: ShownSubscription})
    def get(self, request: Request, name: str) -> Response:
        """Read a subscription; its address is shown to who may change it."""
        return Response(_shown_to(request.user)(seen_subscription(request.user, name)))

    @operation("change_subscription", body=SubscriptionChanges, answers={200: ShownSubscription})
    def patch(self, request: Request, name: str) -> Response:
        """Change options of a subscription; ``bindings`` replace all that were."""
        topic = subscription_for(request.user, Managing.CHANGE_SUBSCRIPTION, name).topic.name
        changes = plain(parsed(request, SubscriptionChanges))
        _require_for(request.user, Managing.CHANGE_SUBSCRIPTION, topic, changes)
        state = changes.pop("state", None)
        with transaction.atomic(using=get_config().database):
            row = broker.update_subscription(name, changes)
            _keep(name, state)
        return Response(shown(seen_subscription(request.user, name), secret=row.made_secret or UNSET))

    @operation("delete_subscription", answers={204: None})
    def delete(self, request: Request, name: str) -> Response:
        """Delete a subscription and what it is still owed."""
        subscription_for(request.user, Managing.DELETE_SUBSCRIPTION, name)
        broker.delete_subscription(name)
        return Response(status=204)


class Pause(Door):
    """Hold a subscription back."""

    room = "subscriptions"

    @operation("pause_subscription", answers={200: ShownSubscription})
    def post(self, request: Request, name: str) -> Response:
        """Keep a subscription's messages without delivering them."""
        subscription_for(request.user, Managing.CHANGE_SUBSCRIPTION, name)
        broker.pause(name)
        return Response(shown(seen_subscription(request.user, name)))


class Resume(Door):
    """Let a subscription go on."""

    room = "subscriptions"

    @operation("resume_subscription", answers={200: ShownSubscription})
    def post(self, request: Request, name: str) -> Response:
        """Deliver them again; a disabled subscription, too, and its breaker is closed."""
        subscription_for(request.user, Managing.CHANGE_SUBSCRIPTION, name)
        broker.resume(name)
        return Response(shown(seen_subscription(request.user, name)))


class SeekTo(Door):
    """Move a subscription."""

    room = "subscriptions"

    @operation("seek_subscription", body=Seek, answers={200: Sought})
    def post(self, request: Request, name: str) -> Response:
        """Owe every kept message from a moment or position on, and none from before."""
        subscription_for(request.user, Managing.CHANGE_SUBSCRIPTION, name)
        given = parsed(request, Seek)
        sought = broker.seek(name, to=given.time if isinstance(given.time, datetime) else cast("int", given.position))
        return Response(Sought(sought.rearmed, sought.recreated, sought.settled))
