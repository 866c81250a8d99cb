from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from datapunk_broker.engine.seek import Sought, seek
from datapunk_broker.models import (
    DeadLetter,
    Delivery,
    Message,
    SettledDelivery,
    Subscription,
    Topic,
)
from datapunk_broker.states import DeliveryState, Settled, TopicType
from tests.engine.make import (
    aged,
    balanced,
    claimed,
    died,
    ended,
    make_subscription,
    make_topic,
    published,
)

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


@pytest.fixture
def topic() -> Topic:
    return make_topic()


@pytest.fixture
def billing(topic: Topic) -> Subscription:
    return make_subscription(topic)


def sought(to: datetime | int, subscription: str = "billing", **options: Any) -> Sought:
    return seek(subscription, to=to, using="default", **options)


def an_hour_ago() -> datetime:
    return timezone.now() - HOUR


def owed(subscription: Subscription) -> list[Any]:
    """What the subscription is owed, in the order it would get it."""
    return list(Delivery.objects.of(subscription.pk).order_by("pk").values_list("message_id", flat=True))


def ids(messages: Sequence[Message]) -> list[Any]:
    return [message.pk for message in messages]


def test_going_back_owes_again_what_was_settled_since_then(topic: Topic, billing: Subscription) -> None:
    [old] = published(topic, "old")
    recent = published(topic, "acked", "dropped", "expired", priority=2)
    ended(billing, [old])
    for message, outcome in zip(recent, (Settled.ACKED, Settled.DROPPED, Settled.EXPIRED), strict=True):
        ended(billing, [message], outcome)
    [old] = aged([old], 2 * HOUR)
    assert sought(an_hour_ago()) == Sought(rearmed=3, recreated=0, settled=0)
    assert owed(billing) == ids(recent)
    for delivery in Delivery.objects.all():
        assert (delivery.state, delivery.attempt, delivery.priority, delivery.expires_at) == ("ready", 0, 2, None)
    assert SettledDelivery.objects.get().message_id == old.pk
    assert balanced()


def test_what_is_on_its_way_is_left_to_it(topic: Topic, billing: Subscription) -> None:
    waiting, held = published(topic, 1, 2)
    delivery = claimed(billing, [held])[0]
    Delivery.objects.filter(message=waiting).update(attempt=2, state=DeliveryState.SCHEDULED)
    assert sought(an_hour_ago()) == Sought(0, 0, 0)
    assert Delivery.objects.get(message=held).ack_token == delivery.ack_token
    assert Delivery.objects.get(message=waiting).attempt == 2


def test_dead_letters_of_what_is_owed_again_are_closed(topic: Topic, billing: Subscription) -> None:
    messages = published(topic, 1, 2)
    died(billing, messages)
    assert sought(an_hour_ago()).rearmed == 2
    assert not DeadLetter.objects.open().exists()
    assert list(DeadLetter.objects.values_list("redrives", flat=True)) == [1, 1]
    assert balanced()


def test_other_subscriptions_keep_their_history_and_dead_letters(topic: Topic, billing: Subscription) -> None:
    other = make_subscription(topic, "other")
    first, second = messages = published(topic, 1, 2)
    ended(billing, messages)
    ended(other, [first])
    died(other, [second])
    sought(an_hour_ago())
    assert owed(other) == []
    assert SettledDelivery.objects.filter(subscription=other).count() == 2
    assert DeadLetter.objects.open().count() == 1
    assert balanced()


def test_a_subscription_newer_than_the_messages_gets_those_that_it_matches_now(topic: Topic) -> None:
    Topic.objects.filter(pk=topic.pk).update(type=TopicType.TOPIC)
    topic.refresh_from_db()
    make_subscription(topic, "everyone")
    wanted = published(topic, 1, 2, routing_key="eu.paid")
    published(topic, 3, routing_key="us.paid")
    europe = make_subscription(topic, "europe", ["eu.*"])
    assert sought(an_hour_ago(), "europe") == Sought(rearmed=0, recreated=2, settled=0)
    assert owed(europe) == ids(wanted)
    assert all(europe.pk in m.routed_to and len(m.routed_to) == 2 for m in Message.objects.filter(pk__in=ids(wanted)))
    assert balanced()
    assert sought(an_hour_ago(), "europe") == Sought(0, 0, 0)


def test_what_was_routed_here_comes_again_even_when_the_bindings_no_longer_match(topic: Topic) -> None:
    direct = make_topic("direct", type=TopicType.DIRECT)
    audit = make_subscription(direct, "audit", ["a"])
    ended(audit, published(direct, 1, routing_key="a"))
    audit.bindings.update(routing_key="b")
    assert sought(an_hour_ago(), "audit") == Sought(1, 0, 0)


def test_a_delivery_that_was_lost_comes_again(topic: Topic, billing: Subscription) -> None:
    messages = published(topic, 1)
    Delivery.objects.all().delete()
    assert not balanced()
    assert sought(an_hour_ago()).rearmed == 1
    assert owed(billing) == ids(messages)
    assert balanced()


def test_a_topic_without_history_is_sought_all_the_same() -> None:
    topic = make_topic(history=False)
    billing = make_subscription(topic)
    messages = published(topic, 1, 2)
    Delivery.objects.filter(message=messages[0]).delete()
    assert sought(an_hour_ago()) == Sought(1, 0, 0)
    assert sorted(owed(billing)) == ids(messages)


def test_a_redrive_meant_for_another_subscription_alone_is_not_created_here(
    topic: Topic, billing: Subscription
) -> None:
    other = make_subscription(topic, "other")
    message = published(topic, 1)[0]
    Delivery.objects.filter(subscription=billing).delete()
    Message.objects.filter(pk=message.pk).update(routed_to=[other.pk], redriven_from=message.pk)
    assert sought(an_hour_ago()) == Sought(0, 0, 0)
    assert balanced()


def test_a_message_that_is_not_due_yet_is_created_for_later(topic: Topic) -> None:
    make_subscription(topic)
    [message] = published(topic, 1, delay=HOUR)
    late = make_subscription(topic, "late")
    assert sought(an_hour_ago(), "late").recreated == 1
    delivery = Delivery.objects.get(subscription=late)
    assert (delivery.state, delivery.available_at) == (DeliveryState.SCHEDULED, message.available_at)


def test_an_ordered_subscription_gets_each_key_in_order_again() -> None:
    topic = make_topic()
    ordered = make_subscription(topic, ordering=True)
    first, second, third = messages = published(topic, 1, 2, 3, ordering_key="customer-7")
    [free] = published(topic, 4)
    Delivery.objects.filter(message=second).update(attempt=1, claims=3)
    ended(ordered, [first])
    sought(an_hour_ago())
    keyed = Delivery.objects.exclude(ordering_key=None).order_by("pk")
    assert list(keyed.values_list("message_id", flat=True)) == ids(messages)
    kept = Delivery.objects.get(message=second)
    assert (kept.attempt, kept.claims, kept.ordering_key) == (1, 3, "customer-7")
    assert Delivery.objects.filter(message__in=[third.pk, free.pk]).count() == 2
    assert balanced()


def test_what_an_ordered_subscription_has_claimed_stays_claimed() -> None:
    topic = make_topic()
    ordered = make_subscription(topic, ordering=True)
    first, second = published(topic, 1, 2, ordering_key="k")
    ended(ordered, [first])
    [held] = claimed(ordered, [second])
    sought(an_hour_ago())
    assert Delivery.objects.get(message=second).ack_token == held.ack_token
