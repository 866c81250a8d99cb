from datetime import timedelta

import pytest

from datapunk_broker.engine.fold import fold
from datapunk_broker.exceptions import Reject
from datapunk_broker.models import LATENCY_BOUNDS, Traffic, TrafficMinute
from tests.engine.make import make_subscription, make_topic, published
from tests.engine.working import USING, acked, claimed, failed, let_pass

pytestmark = pytest.mark.django_db


def test_folding_changes_no_total() -> None:
    topic = make_topic()
    one, two = make_subscription(topic, "one", max_attempts=1), make_subscription(topic, "two")
    published(topic, *range(30))
    for subscription in (one, two):
        for _ in range(5):
            acked(claimed(subscription, count=4), subscription)
    failed(claimed(one, count=3), Reject(), one)
    seconds = sum(Traffic.objects.values_list("seconds", flat=True))
    assert fold(using=USING) == 11
    assert not Traffic.objects.exists()
    rows = {(row.subscription_id, row.outcome): row for row in TrafficMinute.objects.all()}
    assert {key: row.count for key, row in rows.items()} == {
        (one.pk, "acked"): 20,
        (two.pk, "acked"): 20,
        (one.pk, "dead"): 3,
    }
    assert sum(row.seconds for row in rows.values()) == pytest.approx(seconds)
    for row in rows.values():
        assert sum(row.buckets) == row.count
        assert len(row.buckets) == len(LATENCY_BOUNDS) + 1


def test_what_comes_later_is_added_to_its_minute() -> None:
    topic = make_topic()
    billing = make_subscription(topic)
    published(topic, *range(6))
    for total in (2, 4, 6):
        acked(claimed(billing, count=2), billing)
        Traffic.objects.update(minute="2024-05-01T10:00:00Z")
        fold(using=USING)
        minute = TrafficMinute.objects.get()
        assert (minute.count, sum(minute.buckets)) == (total, total)


def test_each_minute_is_a_row_of_its_own() -> None:
    topic = make_topic()
    billing = make_subscription(topic)
    published(topic, 1, 2)
    for minute in ("2024-05-01T10:00:00Z", "2024-05-01T10:01:00Z"):
        acked(claimed(billing, count=1), billing)
        Traffic.objects.filter(pk=Traffic.objects.latest("pk").pk).update(minute=minute)
    fold(using=USING)
    assert list(TrafficMinute.objects.values_list("count", flat=True)) == [1, 1]


def test_the_oldest_are_folded_first_a_batch_at_a_time() -> None:
    topic = make_topic()
    billing = make_subscription(topic)
    published(topic, *range(5))
    for _ in range(5):
        acked(claimed(billing, count=1), billing)
    newest = Traffic.objects.latest("pk").pk
    assert fold(using=USING, batch=4) == 4
    assert list(Traffic.objects.values_list("pk", flat=True)) == [newest]
    assert [fold(using=USING, batch=4), fold(using=USING, batch=4)] == [1, 0]
    assert sum(TrafficMinute.objects.values_list("count", flat=True)) == 5


def test_a_latency_falls_into_its_bucket() -> None:
    topic = make_topic()
    billing = make_subscription(topic)
    published(topic, 1)
    [row] = claimed(billing)
    let_pass(timedelta(seconds=20))
    acked([row], billing)
    [buckets] = Traffic.objects.values_list("buckets", flat=True)
    assert buckets.index(1) == LATENCY_BOUNDS.index(30.0)
