"""What a publisher remembers of a topic is never what decides: a change that is committed counts from then on."""

from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from django.test import override_settings

from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.engine import routes
from datapunk_broker.engine.publish import publish, publish_to
from datapunk_broker.engine.routes import route_of
from datapunk_broker.engine.topology import (
    create_subscription,
    create_topic,
    delete_subscription,
    delete_topic,
    update_subscription,
    update_topic,
)
from datapunk_broker.envelope import Outgoing, Receipt
from datapunk_broker.exceptions import (
    MessageTooLargeError,
    NotPersistentError,
    RoutingUnsettledError,
    SchemaMismatchError,
    TopicNotFoundError,
)
from datapunk_broker.models import Delivery, Message, Subscription, Topic
from tests.engine.make import make_subscription, make_topic
from tests.engine.verbs import check
from tests.engine.working import USING

pytestmark = pytest.mark.django_db


def send(payload: Any = 1, **options: Any) -> Receipt:
    [receipt] = publish("orders", [Outgoing(payload, **options)], using=USING)
    return receipt


def subscribe(name: str, **options: Any) -> Subscription:
    return create_subscription(SubscriptionConfig(name, "orders", **options), using=USING)


@pytest.fixture
def topic() -> Topic:
    """A topic that this process has published to, and so remembers."""
    topic = make_topic(type="topic")
    send()
    Message.objects.all().delete()
    return topic


def test_a_new_subscription_gets_the_next_message(topic: Topic) -> None:
    subscribe("billing")
    assert send().deliveries == 1


def test_a_deleted_subscription_does_not(topic: Topic) -> None:
    subscribe("billing")
    send()
    delete_subscription("billing", using=USING)
    assert send().deliveries == 0
    assert Delivery.objects.count() == 1


def test_new_bindings_hold_for_the_next_message(topic: Topic) -> None:
    subscribe("billing", bindings=[{"routing_key": "eu.*"}])
    assert send(routing_key="us.paid").deliveries == 0
    update_subscription("billing", {"bindings": [{"routing_key": "us.*"}]}, using=USING)
    assert send(routing_key="us.paid").deliveries == 1
    assert send(routing_key="eu.paid").deliveries == 0


def test_ordering_switched_on_holds_for_the_next_message(topic: Topic) -> None:
    subscribe("billing")
    send(ordering_key="k")
    update_subscription("billing", {"ordering": True}, using=USING)
    send(ordering_key="k")
    assert set(Delivery.objects.values_list("ordering_key", flat=True)) == {"k"}


def test_a_new_schema_holds_for_the_next_message_and_its_check(topic: Topic) -> None:
    update_topic("orders", {"schema": {"type": "array"}}, using=USING)
    with pytest.raises(SchemaMismatchError):
        send({})
    assert not Message.objects.exists()


def test_what_a_schema_refused_is_taken_once_it_is_gone(topic: Topic) -> None:
    update_topic("orders", {"schema": {"type": "array"}}, using=USING)
    with pytest.raises(SchemaMismatchError):
        send({})
    update_topic("orders", {"schema": None}, using=USING)
    check("orders", Outgoing({}), using=USING)
    update_topic("orders", {"schema": {"type": "array"}}, using=USING)
    with pytest.raises(SchemaMismatchError):
        send({})
    update_topic("orders", {"schema": None}, using=USING)
    assert send({}).deliveries == 0


def test_a_limit_that_is_lowered_or_raised_holds_for_the_next_message(topic: Topic) -> None:
    update_topic("orders", {"max_message_size": 3}, using=USING)
    with pytest.raises(MessageTooLargeError):
        send("large")
    update_topic("orders", {"max_message_size": 7}, using=USING)
    send("large")
    update_topic("orders", {"compression_threshold": 1, "max_message_size": 5000}, using=USING)
    send("a" * 100)
    assert Message.objects.order_by("-id")[0].encoding == "zstd"


def test_a_topic_that_begins_or_ends_to_store_does_so_with_the_next_message(topic: Topic) -> None:
    update_topic("orders", {"persistent": False, "stream": False}, using=USING)
    send()
    assert not Message.objects.exists()
    with pytest.raises(NotPersistentError):
        send(idempotency_key="k")
    update_topic("orders", {"persistent": True}, using=USING)
    send(idempotency_key="k")
    send()
    assert Message.objects.count() == 2


def test_a_stream_that_is_switched_off_and_on_is_owed_what_is_published_in_between(topic: Topic) -> None:
    update_topic("orders", {"stream": True}, using=USING)
    send()
    update_topic("orders", {"stream": False}, using=USING)
    send()
    assert Delivery.objects.count() == 1


@pytest.mark.parametrize("persistent", [True, False])
def test_a_deleted_topic_takes_nothing_more(topic: Topic, *, persistent: bool) -> None:
    update_topic("orders", {"persistent": persistent, "stream": False}, using=USING)
    send()
    delete_topic("orders", using=USING)
    with pytest.raises(TopicNotFoundError):
        send()


def test_a_topic_of_the_same_name_is_another_topic(topic: Topic) -> None:
    send(idempotency_key="k")
    delete_topic("orders", using=USING)
    create_topic(TopicConfig("orders", stream=False), using=USING)
    subscribe("billing")
    receipt = send(idempotency_key="k")
    assert (receipt.duplicate, receipt.deliveries) == (False, 1)


def test_a_change_that_was_undone_is_forgotten(topic: Topic) -> None:
    with transaction.atomic():
        subscribe("billing")
        assert send().deliveries == 1
        transaction.set_rollback(True)
    assert send().deliveries == 0
    subscribe("audit")
    assert send().deliveries == 1


def test_a_message_for_one_subscription_alone_is_packed_for_the_topic_as_it_is(topic: Topic) -> None:
    billing, _ = subscribe("billing"), subscribe("audit")
    remembered = route_of("orders", USING)
    update_topic("orders", {"compression_threshold": 1, "stream": True}, using=USING)
    origin = Outgoing("a" * 100)
    message = publish_to(remembered, billing.pk, origin, redriven_from=uuid4(), using=USING)
    assert Message.objects.get(pk=message).encoding == "zstd"
    assert list(Delivery.objects.values_list("subscription_id", flat=True)) == [billing.pk]


def test_settings_that_change_are_seen_at_once(topic: Topic) -> None:
    with override_settings(DATAPUNK_BROKER={"MAX_MESSAGE_SIZE": 3}), pytest.raises(MessageTooLargeError):
        send("large")
    send("large")


def test_bindings_written_past_the_broker_are_seen_when_the_memory_is_old(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    Subscription.plain.bulk_create([Subscription(topic=topic, name="raw", transport="pull")])
    assert send().deliveries == 0
    monkeypatch.setattr(routes, "MAX_AGE", -1.0)
    assert send().deliveries == 1


def test_bindings_that_never_settle_are_an_error_of_their_own(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    make_subscription(topic)

    def stale(name: str, using: str) -> routes.Route:
        route = load(name, using)
        Topic.objects.filter(pk=topic.pk).bump_routing()
        return route

    load = routes._load  # noqa: SLF001 - another process changes the bindings just after they were read
    monkeypatch.setattr(routes, "_load", stale)
    Topic.objects.filter(pk=topic.pk).bump_routing()
    with pytest.raises(RoutingUnsettledError):
        send()
    assert not Message.objects.exists()


def test_a_check_is_made_by_the_topic_as_it_is(topic: Topic) -> None:
    update_topic("orders", {"max_message_size": 3}, using=USING)
    with pytest.raises(MessageTooLargeError):
        check("orders", Outgoing("large"), using=USING)
    update_topic("orders", {"max_message_size": 7}, using=USING)
    check("orders", Outgoing("large"), using=USING)
    delete_topic("orders", using=USING)
    with pytest.raises(TopicNotFoundError):
        check("orders", Outgoing("large"), using=USING)
