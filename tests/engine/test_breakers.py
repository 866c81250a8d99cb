from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from datapunk_broker import signals
from datapunk_broker.engine.claim import claim_probe
from datapunk_broker.engine.settle import Verdicts, settle
from datapunk_broker.exceptions import PayloadInvalidError, Reject
from datapunk_broker.models import Delivery, Subscription, Topic
from tests.engine.make import make_subscription, make_topic, published
from tests.engine.working import (
    USING,
    acked,
    claimed,
    failed,
    hearing,
    roster_of,
    subscriber_of,
    suspected,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def topic() -> Topic:
    return make_topic()


@pytest.fixture
def billing(topic: Topic) -> Subscription:
    return make_subscription(topic, max_attempts=50, breaker={"failures": 3, "open_seconds": 60})


def state(subscription: Subscription) -> tuple[str, int]:
    subscription.refresh_from_db()
    return subscription.breaker_state, subscription.breaker_failures


def fails(topic: Topic, subscription: Subscription, count: int = 1, error: Exception | None = None) -> None:
    for _ in range(count):
        published(topic, 1)
        [row] = claimed(subscription, count=1)
        assert failed([row], error or ValueError(), subscription)


def probe(subscription: Subscription) -> list[Any]:
    return claim_probe(subscriber_of(subscription), using=USING)


def opened(topic: Topic, subscription: Subscription, *, due: bool = True) -> None:
    """The breaker is open, its time over where it is ``due``, and one message is ready."""
    fails(topic, subscription, 3)
    Delivery.objects.all().delete()
    published(topic, 1)
    if due:
        Subscription.objects.update(breaker_until=Now() - timedelta(seconds=1))


def test_failures_in_a_row_open_the_breaker_for_its_time(topic: Topic, billing: Subscription) -> None:
    fails(topic, billing, 2)
    assert state(billing) == ("closed", 2)
    fails(topic, billing)
    assert state(billing) == ("open", 3)
    assert billing.breaker_until is not None
    assert abs(billing.breaker_until - timezone.now() - timedelta(seconds=60)) < timedelta(seconds=20)


def test_failures_of_one_batch_count_each(topic: Topic, billing: Subscription) -> None:
    published(topic, 1, 2, 3)
    failed(claimed(billing), ValueError(), billing)
    assert state(billing) == ("open", 3)


def test_an_ack_breaks_the_row(topic: Topic, billing: Subscription) -> None:
    fails(topic, billing, 2)
    published(topic, 1)
    acked(claimed(billing), billing)
    assert state(billing) == ("closed", 0)


@pytest.mark.parametrize("error", [Reject("bad"), PayloadInvalidError("payload", "is odd")])
def test_a_fault_of_the_message_is_none_of_the_subscriber(
    topic: Topic, billing: Subscription, error: Exception
) -> None:
    fails(topic, billing, 5, error)
    assert state(billing) == ("closed", 0)


def test_a_lost_claim_counts_for_nothing(topic: Topic, billing: Subscription) -> None:
    published(topic, 1, 2, 3)
    rows = claimed(billing)
    Delivery.objects.all().delete()
    assert failed(rows, ValueError(), billing) == frozenset()
    assert state(billing) == ("closed", 0)


def test_one_subscription_opens_no_breaker_of_another(topic: Topic, billing: Subscription) -> None:
    other = make_subscription(topic, "other", breaker={"failures": 1, "open_seconds": 60})
    published(topic, 1)
    rows = claimed(billing, other)
    [mine] = [row for row in rows if row.subscription == billing.pk]
    [theirs] = [row for row in rows if row.subscription == other.pk]
    verdicts = Verdicts(acked=[theirs.key], failed={mine.key: ValueError()})
    settle(verdicts, roster_of(billing, other), using=USING)
    assert (state(billing), state(other)) == (("closed", 1), ("closed", 0))


def test_nothing_is_claimed_while_the_breaker_is_open(topic: Topic, billing: Subscription) -> None:
    opened(topic, billing, due=False)
    assert claimed(billing) == suspected(billing) == probe(billing) == []


def test_one_probe_is_let_out_when_the_time_is_over(topic: Topic, billing: Subscription) -> None:
    opened(topic, billing)
    published(topic, 2)
    assert len(probe(billing)) == 1
    assert state(billing) == ("half_open", 3)
    assert probe(billing) == claimed(billing) == []


def test_a_probe_that_is_acked_closes_the_breaker(topic: Topic, billing: Subscription) -> None:
    opened(topic, billing)
    acked(probe(billing), billing)
    assert state(billing) == ("closed", 0)
    assert billing.breaker_until is None


def test_a_probe_that_fails_opens_it_again(topic: Topic, billing: Subscription) -> None:
    opened(topic, billing)
    failed(probe(billing), ValueError(), billing)
    assert state(billing) == ("open", 4)
    assert probe(billing) == []


def test_a_probe_that_vanishes_is_followed_by_another(topic: Topic, billing: Subscription) -> None:
    opened(topic, billing)
    probe(billing)
    published(topic, 2)
    Subscription.objects.update(breaker_until=Now())
    assert len(probe(billing)) == 1


def test_without_a_message_there_is_no_probe_and_the_next_one_is_it(topic: Topic, billing: Subscription) -> None:
    opened(topic, billing)
    Delivery.objects.all().delete()
    assert probe(billing) == []
    assert state(billing) == ("open", 3)
    published(topic, 1)
    assert len(probe(billing)) == 1


@pytest.mark.parametrize("kind", [{"lapses": 1}, {"ordering_key": "k"}], ids=["suspect", "keyed"])
def test_a_probe_may_be_any_delivery(topic: Topic, billing: Subscription, kind: dict[str, Any]) -> None:
    Subscription.objects.update(ordering="ordering_key" in kind)
    opened(topic, billing)
    Delivery.objects.update(**kind)
    assert len(probe(billing)) == 1


def test_a_paused_subscription_is_not_probed(topic: Topic, billing: Subscription) -> None:
    opened(topic, billing)
    Subscription.objects.update(state="paused")
    assert probe(billing) == []


def test_a_breaker_that_lost_its_policy_while_open_is_closed(topic: Topic, billing: Subscription) -> None:
    opened(topic, billing, due=False)
    Subscription.objects.update(breaker=None)
    assert probe(billing) == []
    assert state(billing) == ("closed", 0)
    assert len(claimed(billing)) == 1


def test_what_settles_late_while_it_is_open_changes_nothing(topic: Topic, billing: Subscription) -> None:
    published(topic, 1, 2)
    late = claimed(billing)
    opened(topic, billing, due=False)
    Delivery.objects.filter(state="ready").delete()
    acked(late, billing)
    assert state(billing) == ("open", 3)


@pytest.mark.django_db(transaction=True)
def test_a_turn_is_told_after_the_commit(topic: Topic, billing: Subscription) -> None:
    with hearing(signals.breaker_changed) as heard:
        opened(topic, billing)
        acked(probe(billing), billing)
    told = [(event["subscription"], event["state"], event["until"] is None) for event in heard]
    assert told == [("billing", "open", False), ("billing", "closed", True)]
