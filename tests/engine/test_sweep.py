from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from datapunk_broker import signals
from datapunk_broker.engine import sweep as sweep_engine
from datapunk_broker.engine.sweep import Swept, sweep, sweep_due
from datapunk_broker.models import Attempt, DeadLetter, Delivery, SettledDelivery, Subscription, Topic
from datapunk_broker.states import FailureReason
from tests.engine.make import delete_subscription, delete_topic, make_subscription, make_topic, published
from tests.engine.working import (
    USING,
    acked,
    claimed,
    counted,
    hearing,
    let_lapse,
    let_pass,
    only_delivery,
    outcomes,
    suspected,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def topic() -> Topic:
    return make_topic()


@pytest.fixture
def billing(topic: Topic) -> Subscription:
    return make_subscription(topic, transport="handler", max_attempts=2)


def swept() -> Swept:
    return sweep(using=USING)


def lapse(subscription: Subscription) -> None:
    """The only delivery is claimed, and its worker is never heard of again."""
    assert claimed(subscription) or suspected(subscription)
    let_lapse()
    assert swept().lapsed == 1


def test_what_is_due_becomes_ready_and_what_is_not_waits(topic: Topic, billing: Subscription) -> None:
    published(topic, 1, 2, delay=timedelta(minutes=1))
    published(topic, 3, delay=timedelta(minutes=3))
    assert swept().due == 0
    let_pass(timedelta(minutes=2))
    assert swept().due == 2
    assert sorted(Delivery.objects.values_list("state", flat=True)) == ["ready", "ready", "scheduled"]
    assert len(claimed(billing)) == 2


def test_a_step_goes_on_by_batches_until_its_time_is_up(
    topic: Topic, billing: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_engine, "BATCH", 3)
    published(topic, *range(8), delay=timedelta(minutes=1))
    let_pass(timedelta(minutes=2))
    assert sweep_due(using=USING) == 8
    monkeypatch.setattr(sweep_engine, "STEP", 0)
    Delivery.objects.update(state="scheduled")
    assert [sweep_due(using=USING) for _ in range(4)] == [3, 3, 2, 0]


def test_a_lease_that_is_not_over_is_left_alone(topic: Topic, billing: Subscription) -> None:
    published(topic, 1)
    [row] = claimed(billing)
    assert swept().lapsed == 0
    assert only_delivery().ack_token == row.token


def test_the_first_lapse_charges_nothing_but_is_remembered(topic: Topic, billing: Subscription) -> None:
    published(topic, 1)
    lapse(billing)
    delivery = only_delivery()
    assert (delivery.state, delivery.attempt, delivery.lapses) == ("ready", 0, 1)
    assert (delivery.ack_token, delivery.lease_until) == (None, None)
    assert not Attempt.objects.exists()
    assert claimed(billing) == []


def test_only_lapses_of_a_delivery_claimed_alone_are_charged(topic: Topic, billing: Subscription) -> None:
    [message] = published(topic, 1)
    lapse(billing)
    lapse(billing)
    assert (only_delivery().attempt, only_delivery().lapses) == (1, 2)
    lapse(billing)
    assert not Delivery.objects.exists()
    letter = DeadLetter.objects.get()
    assert (letter.reason, letter.attempts) == (FailureReason.LEASE_LOST, 2)
    assert outcomes() == [(message.pk, "dead", 2)]
    assert list(Attempt.objects.order_by("pk").values_list("attempt", "reason")) == [
        (1, "lease_lost"),
        (2, "lease_lost"),
    ]


def test_a_report_clears_a_suspect(topic: Topic, billing: Subscription) -> None:
    published(topic, 1)
    lapse(billing)
    acked(suspected(billing), billing)
    assert [attempts for *_, attempts in outcomes()] == [1]


def test_the_first_lapse_of_a_puller_is_forgiven(topic: Topic) -> None:
    pulled = make_subscription(topic, "pulled")
    published(topic, 1)
    lapse(pulled)
    assert only_delivery().lapses == 0
    assert len(claimed(pulled)) == 1
    let_lapse()
    swept()
    assert only_delivery().lapses == 1
    assert claimed(pulled) == []


def test_what_expired_is_settled_so_without_a_dead_letter(topic: Topic, billing: Subscription) -> None:
    [message, _] = [*published(topic, 1, ttl=timedelta(minutes=1)), *published(topic, 2, ttl=timedelta(hours=1))]
    assert swept().expired == 0
    let_pass(timedelta(minutes=2))
    assert swept().expired == 1
    assert outcomes() == [(message.pk, "expired", 0)]
    assert not DeadLetter.objects.exists()
    assert SettledDelivery.objects.get().latency >= 120


def test_a_scheduled_message_may_expire_and_a_claimed_one_is_left_to_its_worker(
    topic: Topic, billing: Subscription
) -> None:
    published(topic, 1, ttl=timedelta(minutes=1), delay=timedelta(hours=1))
    published(topic, 2, ttl=timedelta(minutes=1))
    rows = claimed(billing)
    let_pass(timedelta(minutes=2))
    assert swept().expired == 1
    assert acked(rows, billing) == {rows[0].key}


def test_a_message_that_expired_in_a_stream_goes_without_a_trace() -> None:
    topic = make_topic("live", stream=True)
    make_topic("graves")
    Topic.objects.filter(pk=topic.pk).update(dead_letter_topic="graves")
    published(topic, 1, ttl=timedelta(0))
    assert swept().expired == 1
    assert outcomes() == counted() == []
    assert not Delivery.objects.exists()


def test_what_is_owed_to_nobody_any_more_goes_when_it_expires(topic: Topic, billing: Subscription) -> None:
    published(topic, 1, 2, ttl=timedelta(0))
    Delivery.objects.filter(pk=Delivery.objects.earliest("pk").pk).update(subscription=billing.pk + 1000)
    assert swept().expired == 2
    assert [outcome for _, outcome, _ in outcomes()] == ["expired"]


@pytest.mark.parametrize("delete", ["subscription", "topic"])
def test_deliveries_of_what_was_deleted_are_purged_whatever_their_state(
    topic: Topic, billing: Subscription, delete: str
) -> None:
    other = make_subscription(make_topic("other"), "other")
    published("other", 1)
    kinds = [{"state": "scheduled"}, {"lapses": 1}, {"ordering_key": "k"}, {"expires_at": Now()}, {}]
    for message, kind in zip(published(topic, *range(5)), kinds, strict=True):
        if kind:
            Delivery.objects.filter(message=message.pk).update(**kind)
    rows = claimed(billing)
    assert len(rows) == 1
    if delete == "topic":
        delete_topic(topic)
    else:
        delete_subscription(billing)
    assert swept() == Swept(0, 0, 0, 0, 5, 0, frozenset())
    assert list(Delivery.objects.values_list("subscription_id", flat=True)) == [other.pk]
    assert acked(rows, billing) == frozenset()
    assert not DeadLetter.objects.exists()


def test_a_suspect_of_a_deleted_subscription_leaves_no_dead_letter(topic: Topic, billing: Subscription) -> None:
    published(topic, 1)
    Delivery.objects.update(lapses=5, attempt=5)
    suspected(billing)
    let_lapse()
    delete_subscription(billing)
    swept()
    assert not DeadLetter.objects.exists()


def test_a_sweep_says_whose_pumps_have_work(topic: Topic, billing: Subscription) -> None:
    make_topic("live", stream=True)
    make_subscription(topic, "pulled")
    assert swept().stalled == frozenset()
    published(topic, 1)
    assert swept().stalled == {"handler"}
    published("live", 1)
    assert swept().stalled == {"handler", "stream"}
    for kind in ({"lapses": 1}, {"lapses": 0, "ordering_key": "k"}):
        Delivery.objects.of(billing.pk).update(**kind)
        assert "handler" in swept().stalled
    Subscription.objects.filter(pk=billing.pk).update(state="paused")
    assert swept().stalled == {"stream"}
    Subscription.objects.filter(pk=billing.pk).update(state="active")
    Delivery.objects.of(billing.pk).update(state="scheduled", available_at=Now() + timedelta(hours=1))
    assert swept().stalled == {"stream"}


def test_a_sweep_is_told(topic: Topic, billing: Subscription) -> None:
    published(topic, 1, ttl=timedelta(0))
    with hearing(signals.swept) as heard:
        swept()
    [event] = heard
    seconds: Any = event.pop("seconds")
    assert seconds >= 0
    assert event == {"due": 0, "lapsed": 0, "expired": 1, "dropped": 0, "folded": 1}


def test_a_claim_whose_subscription_is_gone_past_every_verb_is_forgotten_and_holds_up_no_other(topic: Topic) -> None:
    gone, billing = make_subscription(topic, "gone"), make_subscription(topic)
    published(topic, 1)
    assert len(claimed(gone, billing)) == 2
    Delivery.objects.update(lease_until=Now() - timedelta(seconds=1))
    Subscription.objects.filter(pk=gone.pk).delete()
    assert swept().lapsed == 2
    assert list(Delivery.objects.values_list("subscription", "state")) == [(billing.pk, "ready")]
