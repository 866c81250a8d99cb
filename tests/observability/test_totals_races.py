"""Whoever reads, counts, folds and commits at the same time: the totals are those of one moment."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from datapunk_broker import broker
from datapunk_broker.engine.fold import fold
from datapunk_broker.engine.published import count_published
from datapunk_broker.models import Traffic, TrafficMinute
from datapunk_broker.states import Settled
from tests.engine.make import aged, make_subscription, make_topic, published
from tests.engine.racing import LONGEST, Actors

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

TEN_MINUTES = timedelta(minutes=10)


@pytest.fixture
def actors() -> Iterator[Actors]:
    actors = Actors()
    yield actors
    actors.close()


def count() -> int:
    return count_published(using="default")


def total() -> int:
    return broker.totals().topics[0].published


def acked() -> int:
    return broker.totals().subscriptions[0].ended[Settled.ACKED].count


def test_a_transaction_that_commits_after_its_minute_was_counted_is_counted_again(actors: Actors) -> None:
    topic = make_topic()
    aged(published(topic, 1), TEN_MINUTES)
    is_written, may_commit = threading.Event(), threading.Event()

    def publish_slowly() -> None:
        with transaction.atomic():
            aged(published(topic, 2, 3), TEN_MINUTES)
            is_written.set()
            assert may_commit.wait(LONGEST)

    late = actors.start(publish_slowly)
    assert is_written.wait(LONGEST)
    assert (count(), total()) == (1, 1)
    may_commit.set()
    late.result(LONGEST)
    assert (count(), total()) == (2, 3)
    assert (count(), total()) == (0, 3)


def test_of_many_who_count_at_once_none_counts_twice(actors: Actors) -> None:
    topic = make_topic()
    for hours in range(1, 6):
        aged(published(topic, 1, 2), timedelta(hours=hours))
    found = actors.race(*[count] * 6)
    assert sum(found) == 10
    assert total() == 10
    assert sum(TrafficMinute.objects.of_topics().values_list("count", flat=True)) == 10


def test_a_reader_sees_the_same_total_while_others_fold_and_count(actors: Actors) -> None:
    topic = make_topic()
    billing = make_subscription(topic)
    minute = timezone.now().replace(second=0, microsecond=0)
    about = {"subscription_id": billing.pk, "minute": minute, "outcome": Settled.ACKED, "seconds": 0.1}
    Traffic.objects.bulk_create(Traffic(count=2, buckets=[0] * 15 + [2], **about) for _ in range(60))
    for hours in range(1, 13):
        aged(published(topic, 1, 2), timedelta(hours=hours))

    def fold_on() -> int:
        return sum(fold(using="default", batch=3) for _ in range(40))

    def read_on() -> set[tuple[int, int]]:
        return {(total(), acked()) for _ in range(60)}

    *folded, counted, seen = actors.race(fold_on, fold_on, count, read_on)
    assert seen == {(24, 120)}
    assert (sum(folded) <= 60, counted) == (True, 24)
    fold(using="default")
    assert (total(), acked(), Traffic.objects.count()) == (24, 120, 0)
