"""The totals are exact whatever has been counted, folded or pruned, and by whom."""

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from datapunk_broker import broker
from datapunk_broker.administration import SubscriptionTotals
from datapunk_broker.engine import published as counting
from datapunk_broker.engine.fold import fold
from datapunk_broker.engine.published import count_published
from datapunk_broker.models import DeadLetter, Message, Topic, Traffic, TrafficMinute, TrafficTotal
from datapunk_broker.states import BreakerState, DeliveryState, FailureReason, Settled
from tests.engine.make import (
    aged,
    claimed,
    delete_subscription,
    delete_topic,
    died,
    ended,
    make_subscription,
    make_topic,
    published,
)

pytestmark = pytest.mark.django_db

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def count() -> int:
    return count_published(using="default")


def total(name: str = "orders") -> int:
    [topic] = [topic for topic in broker.totals().topics if topic.name == name]
    return topic.published


def of(name: str) -> SubscriptionTotals:
    [found] = [row for row in broker.totals().subscriptions if row.name == name]
    return found


def minutes() -> list[int]:
    return list(TrafficMinute.objects.of_topics().order_by("minute").values_list("count", flat=True))


def traffic(subscription: int, outcome: Settled, count: int, seconds: float = 0.0) -> None:
    minute = timezone.now().replace(second=0, microsecond=0)
    buckets = [0] * 15 + [count]
    Traffic.objects.create(
        subscription_id=subscription, minute=minute, outcome=outcome, count=count, seconds=seconds, buckets=buckets
    )


@pytest.fixture
def topic() -> Topic:
    return make_topic()


def test_without_anybody_counting_the_total_is_what_was_published(topic: Topic) -> None:
    make_topic("quiet")
    aged(published(topic, 1, 2), 3 * HOUR)
    published(topic, 3)
    assert (total(), total("quiet")) == (3, 0)


def test_a_minute_is_counted_when_it_is_over_and_the_total_stays_the_same(topic: Topic) -> None:
    aged(published(topic, 1, 2), 5 * MINUTE)
    aged(published(topic, 3), HOUR)
    published(topic, 4)
    assert count() == 3
    assert (minutes(), total()) == ([1, 2], 4)
    assert count() == 0
    assert (minutes(), total()) == ([1, 2], 4)


def test_each_topic_has_its_own_total_also_one_that_is_new(topic: Topic) -> None:
    aged(published(topic, 1, 2), 5 * MINUTE)
    assert count() == 2
    late = make_topic("late")
    published(late, 1)
    assert (total(), total("late")) == (2, 1)
    aged(published(late, 2), 5 * MINUTE)
    assert count() == 1
    assert (total(), total("late")) == (2, 2)


def test_what_commits_late_is_counted_with_its_minute_for_a_quarter_of_an_hour(topic: Topic) -> None:
    aged(published(topic, 1), 10 * MINUTE)
    assert count() == 1
    aged(published(topic, 2, 3), 10 * MINUTE)
    aged(published(topic, 4), 30 * MINUTE)  # an older minute is closed for good
    assert count() == 2
    assert total() == 3


def test_a_long_time_is_counted_in_many_transactions(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "AT_ONCE", 2)
    for hours in range(1, 8):
        aged(published(topic, *range(hours)), hours * HOUR)
    assert count() == 28
    assert (minutes(), total()) == ([7, 6, 5, 4, 3, 2, 1], 28)


@pytest.mark.parametrize("is_counted", [False, True])
def test_what_is_pruned_stays_in_the_total(topic: Topic, *, is_counted: bool) -> None:
    aged(published(topic, 1, 2), 25 * HOUR)
    published(topic, 3)
    if is_counted:
        assert count() == 2
    assert broker.prune().messages == 2
    assert Message.objects.count() == 1
    assert total() == 3
    assert count() == 0
    assert total() == 3


def test_nothing_is_pruned_before_it_is_counted_for_good() -> None:
    topic = make_topic(retention_hours=0.001)
    recent, closed, old = aged(published(topic, 1), MINUTE), published(topic, 2), published(topic, 3)
    aged(closed, 10 * MINUTE)
    aged(old, 20 * MINUTE)
    assert broker.prune().messages == 1
    assert set(Message.objects.values_list("topic", flat=True)) == {recent[0].topic_id}
    assert (Message.objects.count(), total()) == (2, 3)


def test_the_minutes_of_a_month_ago_go_and_the_totals_stay(topic: Topic) -> None:
    billing = make_subscription(topic)
    traffic(billing.pk, Settled.ACKED, 3)
    fold(using="default")
    aged(published(topic, 1), 2 * HOUR)
    assert count() == 1
    TrafficMinute.objects.update(minute=timezone.now() - 31 * DAY)
    assert broker.prune().minutes == 2
    assert (total(), of("billing").ended[Settled.ACKED].count) == (1, 3)
    assert count() == 0


def test_totals_go_with_what_they_are_of(topic: Topic) -> None:
    traffic(make_subscription(topic).pk, Settled.ACKED, 3)
    fold(using="default")
    aged(published(topic, 1), 2 * HOUR)
    assert (count(), TrafficTotal.objects.count()) == (1, 3)
    delete_topic(topic)
    for model in (Topic, topic.subscriptions.model):
        model.objects.update(deleted_at=timezone.now() - 2 * HOUR)
    broker.sweep()
    broker.prune()
    assert not Topic.objects.exists()
    assert not TrafficTotal.objects.exclude(topic=None, subscription=None).exists()


def test_outcomes_are_what_is_folded_and_what_is_not(topic: Topic) -> None:
    billing = make_subscription(topic)
    traffic(billing.pk, Settled.ACKED, 3, seconds=1.5)
    traffic(billing.pk, Settled.DEAD, 1)
    assert fold(using="default", batch=1) == 1
    traffic(billing.pk, Settled.ACKED, 2, seconds=0.25)
    assert fold(using="default", batch=2) == 2
    traffic(billing.pk, Settled.ACKED, 1)
    acked = of("billing").ended[Settled.ACKED]
    assert (acked.count, acked.seconds, acked.buckets) == (6, 1.75, [0] * 15 + [6])
    assert {outcome.value: ended.count for outcome, ended in of("billing").ended.items()} == {
        "acked": 6,
        "dead": 1,
        "expired": 0,
        "dropped": 0,
    }


def test_a_subscription_says_what_waits_what_died_and_whether_its_breaker_holds_it(topic: Topic) -> None:
    billing = make_subscription(topic, breaker_state=BreakerState.OPEN, breaker_until=timezone.now())
    make_subscription(make_topic("idle"), "idle")
    delete_subscription(make_subscription(topic, "gone"))
    done, held, waiting = published(topic, 1, 2, 3)
    ended(billing, [done])
    claimed(billing, aged([held], 20 * MINUTE))
    [dead] = published(topic, 4)
    died(billing, [dead], FailureReason.TIMEOUT)
    assert DeadLetter.objects.count() == 1
    found = of("billing")
    assert found.backlog == {DeliveryState.SCHEDULED: 0, DeliveryState.READY: 1, DeliveryState.CLAIMED: 1}
    assert found.oldest_unacked == pytest.approx(1200, abs=30)
    assert (found.dead_letters, found.is_held) == ({"timeout": 1}, True)
    assert (of("idle").oldest_unacked, of("idle").is_held) == (0.0, False)
    assert [row.name for row in broker.totals().subscriptions] == ["billing", "idle"]
    assert waiting.pk


def test_it_takes_seven_statements_whatever_there_is() -> None:
    for name in ("a", "b", "c"):
        topic = make_topic(name)
        for number in range(3):
            traffic(make_subscription(topic, f"{name}{number}").pk, Settled.ACKED, 1)
        aged(published(topic, 1, 2), 10 * MINUTE)
    assert count() == 6
    with CaptureQueriesContext(connection) as queries:
        broker.totals()
    assert len(queries) == 7, [q["sql"] for q in queries]


def test_a_count_that_is_undone_counts_nothing(topic: Topic) -> None:
    aged(published(topic, 1), 5 * MINUTE)
    with transaction.atomic():
        assert count() == 1
        transaction.set_rollback(True)
    assert (total(), minutes()) == (1, [])
    assert count() == 1
