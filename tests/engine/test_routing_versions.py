"""Whoever writes what routes, by whichever word of the ORM, is heard with the very next message."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from datapunk_broker.conf import SubscriptionConfig
from datapunk_broker.engine.publish import publish
from datapunk_broker.engine.topology import create_subscription, delete_subscription, pause, update_subscription
from datapunk_broker.envelope import Outgoing
from datapunk_broker.exceptions import TopicNotFoundError
from datapunk_broker.models import Binding, Delivery, Subscription, Topic
from datapunk_broker.states import BreakerState, SubscriptionState, TopicType
from tests.engine.make import make_subscription, make_topic
from tests.engine.working import USING

pytestmark = pytest.mark.django_db

GONE = {"state": SubscriptionState.DELETED, "deleted_at": Now()}


def reached(to: str = "orders") -> set[str]:
    """Who gets a message with the routing key ``eu.paid`` that is published now."""
    [receipt] = publish(to, [Outgoing(1, routing_key="eu.paid", ordering_key="k")], using=USING)
    found = Delivery.objects.filter(message=receipt.message_id).select_related("subscription")
    return {delivery.subscription.name for delivery in found}


@pytest.fixture
def topic() -> Topic:
    """A topic with a subscription to every message and one to none of Europe's, which publishers remember."""
    topic = make_topic(type=TopicType.TOPIC)
    make_subscription(topic, "all")
    make_subscription(topic, "us", ["us.*"])
    assert reached() == {"all"}
    return topic


def of(name: str) -> Subscription:
    return Subscription.objects.get(name=name)


def new(topic: Topic) -> Subscription:
    return Subscription(topic=topic, name="new", transport="pull")


def europe() -> Binding:
    return Binding(subscription=of("us"), routing_key="eu.*")


def saved(row: Any, **changes: Any) -> None:
    for name, value in changes.items():
        setattr(row, name, value)
    row.save()


JOINING: list[Callable[[Topic], Any]] = [
    lambda topic: new(topic).save(),
    lambda topic: Subscription.objects.create(topic=topic, name="new", transport="pull"),
    lambda topic: Subscription.objects.bulk_create([new(topic)]),
    lambda topic: Subscription.objects.get_or_create(name="new", defaults={"topic": topic, "transport": "pull"}),
    lambda topic: topic.subscriptions.create(name="new", transport="pull"),
]

WIDENING: list[Callable[[Topic], Any]] = [
    lambda _: europe().save(),
    lambda _: Binding.objects.bulk_create([europe()]),
    lambda _: of("us").bindings.create(routing_key="eu.*"),
    lambda _: saved(Binding.objects.get(), routing_key="#"),
    lambda _: Binding.objects.update(routing_key="#"),
    lambda _: Binding.objects.bulk_update([Binding(pk=Binding.objects.get().pk, routing_key="#")], ["routing_key"]),
    lambda _: Binding.objects.get().delete(),
    lambda _: Binding.objects.all().delete(),
    lambda _: of("us").bindings.all().delete(),
    lambda _: Binding.objects.update(subscription=of("all")),
    lambda _: saved(Binding.objects.get(), subscription=of("all")),
]

LEAVING: list[Callable[[Topic], Any]] = [
    lambda _: of("all").delete(),
    lambda _: Subscription.objects.filter(name="all").delete(),
    lambda topic: topic.subscriptions.filter(name="all").delete(),
    lambda _: Subscription.objects.filter(name="all").update(**GONE),
    lambda _: saved(of("all"), **GONE),
    lambda _: Subscription.objects.filter(name="all").update(topic=make_topic("other")),
    lambda _: saved(of("all"), topic=make_topic("other")),
]


@pytest.mark.parametrize("join", JOINING)
def test_a_new_subscription_gets_the_next_message(topic: Topic, join: Callable[[Topic], Any]) -> None:
    join(topic)
    assert reached() == {"all", "new"}


@pytest.mark.parametrize("widen", WIDENING)
def test_a_changed_binding_holds_for_the_next_message(topic: Topic, widen: Callable[[Topic], Any]) -> None:
    widen(topic)
    assert "us" in reached()


@pytest.mark.parametrize("leave", LEAVING)
def test_a_subscription_that_is_gone_does_not_get_it(topic: Topic, leave: Callable[[Topic], Any]) -> None:
    leave(topic)
    assert reached() == set()


def test_a_subscription_that_moves_gets_the_messages_of_its_new_topic(topic: Topic) -> None:
    for number, move in enumerate((lambda other: saved(of("all"), topic=other), _moved_at_once)):
        other = make_topic(f"other{number}")
        assert reached(other.name) == set()
        move(other)
        assert reached(other.name) == {"all"}


def _moved_at_once(other: Topic) -> None:
    Subscription.objects.filter(name="all").update(topic_id=other.pk)


def test_ordering_holds_for_the_next_message(topic: Topic) -> None:
    Subscription.objects.filter(name="all").update(ordering=True)
    reached()
    assert Delivery.objects.latest("pk").ordering_key == "k"


@pytest.mark.parametrize(
    "write", [lambda topic: saved(topic, deleted_at=Now()), lambda _: Topic.objects.update(deleted_at=Now())]
)
def test_a_deleted_topic_takes_nothing_more(topic: Topic, write: Callable[[Topic], Any]) -> None:
    write(topic)
    with pytest.raises(TopicNotFoundError):
        reached()


def test_a_stream_that_is_switched_off_gets_nothing_more() -> None:
    topic = make_topic("seen", stream=True)
    assert reached("seen") == {"stream:seen"}
    topic.stream = False
    topic.save(update_fields=["stream"])
    assert reached("seen") == set()
    Topic.objects.update(stream=True)
    assert reached("seen") == {"stream:seen"}


def test_a_topic_that_was_read_long_ago_does_not_bring_its_old_version_back(topic: Topic) -> None:
    old = Topic.objects.get(pk=topic.pk)
    new(topic).save()
    old.save()
    assert reached() == {"all", "new"}
    assert old.routing_version == Topic.objects.get(pk=topic.pk).routing_version


def test_what_is_undone_bumps_nothing(topic: Topic) -> None:
    before = version_of(topic)
    with pytest.raises(IntegrityError):
        Subscription.objects.create(topic=topic, name="all")
    with transaction.atomic():
        new(topic).save()
        transaction.set_rollback(True)
    assert version_of(topic) == before


def version_of(topic: Topic) -> int:
    return Topic.objects.values_list("routing_version", flat=True).get(pk=topic.pk)


ASIDE: list[Callable[[Subscription], Any]] = [
    lambda row: row.save(update_fields=["breaker_state", "breaker_failures", "breaker_until"]),
    lambda row: Subscription.objects.filter(pk=row.pk).update(breaker_state=BreakerState.CLOSED, breaker_until=None),
    lambda row: Subscription.objects.filter(pk=row.pk).update(restamp_until=Now() + timedelta(minutes=1)),
    lambda row: Subscription.objects.filter(pk=row.pk).update(state=SubscriptionState.PAUSED, updated_at=Now()),
]


@pytest.mark.parametrize("write", ASIDE)
def test_what_does_not_route_is_one_statement_and_no_bump(topic: Topic, write: Callable[[Subscription], Any]) -> None:
    row, before = of("all"), version_of(topic)
    with CaptureQueriesContext(connection) as queries:
        write(row)
    assert len(queries) == 1, [query["sql"] for query in queries]
    assert version_of(topic) == before


def test_a_pause_locks_no_topic(topic: Topic) -> None:
    before = version_of(topic)
    pause("all", using=USING)
    assert version_of(topic) == before


@pytest.mark.parametrize(
    "act",
    [
        lambda: create_subscription(SubscriptionConfig("new", "orders", bindings=[{"routing_key": "#"}]), using=USING),  # type: ignore[arg-type]
        lambda: update_subscription("us", {"bindings": [{"routing_key": "#"}], "ordering": True}, using=USING),
        lambda: delete_subscription("all", using=USING),
    ],
)
def test_a_verb_bumps_its_topic_once(topic: Topic, act: Callable[[], Any]) -> None:
    with CaptureQueriesContext(connection) as queries:
        act()
    bumps = [query["sql"] for query in queries if 'SET "routing_version"' in query["sql"]]
    assert len(bumps) == 1, bumps
