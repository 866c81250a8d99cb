from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from datapunk_broker.engine import letters
from datapunk_broker.engine.letters import Chosen
from datapunk_broker.engine.redrive import Redriven, redrive
from datapunk_broker.exceptions import PayloadInvalidError
from datapunk_broker.models import DeadLetter, Delivery, Message, SettledDelivery, Subscription, Topic
from datapunk_broker.states import DeliveryState, FailureReason, Settled
from tests.engine.make import (
    aged,
    balanced,
    delete_subscription,
    delete_topic,
    died,
    ended,
    make_subscription,
    make_topic,
    published,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def topic() -> Topic:
    return make_topic()


@pytest.fixture
def billing(topic: Topic) -> Subscription:
    return make_subscription(topic)


def redriven(dead_letters: Chosen, **options: Any) -> Redriven:
    return redrive(dead_letters, using="default", **options)


def test_a_plain_redrive_makes_the_delivery_ready_again_with_no_attempt_charged(
    topic: Topic, billing: Subscription
) -> None:
    messages = published(topic, "a", "b", priority=3)
    died(billing, messages)
    done = redriven({"subscription": "billing"})
    assert done == Redriven(2, tuple(m.pk for m in messages), ())
    for delivery in Delivery.objects.all():
        assert (delivery.state, delivery.attempt, delivery.claims, delivery.lapses) == ("ready", 0, 0, 0)
        assert (delivery.priority, delivery.expires_at) == (3, None)
    assert not SettledDelivery.objects.exists()
    assert balanced()


def test_the_dead_letter_stays_closed_and_counts_its_redrives(topic: Topic, billing: Subscription) -> None:
    [letter] = died(billing, published(topic, 1), redrives=2)
    redriven({})
    letter.refresh_from_db()
    assert letter.redrives == 3
    assert letter.redriven_at is not None
    assert abs(timezone.now() - letter.redriven_at) < timedelta(minutes=1)
    assert redriven({}) == Redriven(0, (), ())
    assert Delivery.objects.count() == 1


def test_a_message_that_expired_does_not_expire_again_at_once(topic: Topic, billing: Subscription) -> None:
    messages = published(topic, 1, ttl=timedelta(seconds=1))
    died(billing, messages, FailureReason.EXPIRED)
    aged(messages, timedelta(hours=1))
    redriven({})
    assert Delivery.objects.get().expires_at is None


def test_the_ordering_key_comes_back_only_where_the_subscription_is_ordered(topic: Topic) -> None:
    ordered = make_subscription(topic, "ordered", ordering=True)
    plain = make_subscription(topic, "plain")
    messages = published(topic, 1, ordering_key="customer-7")
    died(ordered, messages)
    died(plain, messages)
    redriven({})
    assert Delivery.objects.get(subscription=ordered).ordering_key == "customer-7"
    assert Delivery.objects.get(subscription=plain).ordering_key is None


def test_only_the_pair_that_died_loses_its_history(topic: Topic, billing: Subscription) -> None:
    other = make_subscription(topic, "other")
    first, second = published(topic, 1, 2)
    died(billing, [first])
    died(other, [second])
    ended(billing, [second])
    ended(other, [first])
    redriven({})
    assert SettledDelivery.objects.filter(outcome=Settled.ACKED).count() == 2
    assert not SettledDelivery.objects.filter(outcome=Settled.DEAD).exists()
    assert balanced()


def test_a_redrive_does_without_history(billing: Subscription, topic: Topic) -> None:
    died(billing, published(topic, 1))
    SettledDelivery.objects.all().delete()
    assert redriven({}).count == 1
    assert Delivery.objects.count() == 1


def test_many_are_redriven_in_bounded_batches_with_progress(
    topic: Topic, billing: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "BATCH", 3)
    died(billing, published(topic, *range(7)))
    seen: list[int] = []
    assert redriven({}, progress=seen.append).count == 7
    assert seen == [3, 6, 7]
    assert balanced()


@pytest.mark.parametrize("count", [1, 20])
def test_a_batch_takes_seven_statements_whatever_its_size(topic: Topic, billing: Subscription, count: int) -> None:
    died(billing, published(topic, *range(count)))
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        redriven({})
    statements = [q["sql"] for q in queries if "SAVEPOINT" not in q["sql"]]
    assert len(statements) == 7, statements


def test_a_dry_run_says_what_it_would_do_and_does_nothing(topic: Topic, billing: Subscription) -> None:
    messages = published(topic, 1, 2)
    died(billing, messages)
    assert redriven({}, dry_run=True) == Redriven(2, tuple(m.pk for m in messages), ())
    assert redriven({}, dry_run=True, payload=5) == Redriven(2, (), ())
    assert not Delivery.objects.exists()
    assert DeadLetter.objects.open().count() == 2


def test_a_rate_spreads_the_deliveries_instead_of_sleeping(topic: Topic, billing: Subscription) -> None:
    died(billing, published(topic, *range(4)))
    redriven({}, rate=0.1)
    first, *others = Delivery.objects.order_by("message_id")
    assert first.state == DeliveryState.READY
    assert [d.state for d in others] == [DeliveryState.SCHEDULED] * 3
    assert [(d.available_at - first.available_at).total_seconds() for d in others] == [10, 20, 30]


def test_a_rate_goes_on_over_the_batches(topic: Topic, billing: Subscription, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters.batches, "__defaults__", (2,))
    died(billing, published(topic, *range(5)))
    redriven({}, rate=0.001)
    due = list(Delivery.objects.order_by("message_id").values_list("available_at", flat=True))
    assert [round((at - due[0]).total_seconds()) for at in due] == [0, 1000, 2000, 3000, 4000]


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), "fast", 1e-12, True])
def test_a_rate_that_is_no_pace_is_refused(topic: Topic, billing: Subscription, rate: Any) -> None:
    died(billing, published(topic, 1))
    with pytest.raises(PayloadInvalidError, match="rate"):
        redriven({}, rate=rate)
    assert DeadLetter.objects.open().count() == 1


def test_dead_letters_of_deleted_subscriptions_and_topics_are_skipped_and_reported(topic: Topic) -> None:
    billing, gone = make_subscription(topic), make_subscription(topic, "gone")
    messages = published(topic, 1)
    [_, skipped] = [*died(billing, messages), *died(gone, messages)]
    delete_subscription(gone)
    dropped = make_topic("dropped")
    [lost] = died(make_subscription(dropped, "audit"), published(dropped, 1))
    delete_topic(dropped)
    assert redriven({}) == Redriven(1, (messages[0].pk,), (skipped.pk, lost.pk))
    assert redriven({}, payload=1).skipped == (skipped.pk, lost.pk)
    assert DeadLetter.objects.open().count() == 2


def test_a_dead_letter_without_its_message_is_skipped(topic: Topic, billing: Subscription) -> None:
    [letter] = died(billing, published(topic, 1))
    Message.objects.all().delete()
    assert redriven({}) == Redriven(0, (), (letter.pk,))
