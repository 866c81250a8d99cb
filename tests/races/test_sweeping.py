"""Sweeps, folders and pushers at once, and workers that vanish: the totals are exact."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F, Sum

from datapunk_broker.engine.append import append
from datapunk_broker.engine.fold import fold
from datapunk_broker.engine.publish import publish
from datapunk_broker.engine.sweep import Swept, sweep
from datapunk_broker.engine.topology import update_subscription
from datapunk_broker.envelope import Outgoing
from datapunk_broker.models import (
    DeadLetter,
    Delivery,
    SettledDelivery,
    StreamEntry,
    StreamHead,
    Subscription,
    Topic,
    Traffic,
    TrafficMinute,
)
from tests.engine.make import make_subscription, make_topic, published
from tests.engine.working import USING, acked, claimed, failed, let_lapse, let_pass, suspected
from tests.races.actors import Actors, opened, work_is_left

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def topic() -> Topic:
    return make_topic()


def test_two_sweeps_at_once_do_everything_once(actors: Actors, topic: Topic) -> None:
    billing = make_subscription(topic, transport="handler", max_attempts=1)
    published(topic, *range(100))
    rows = claimed(billing, count=100)
    Delivery.objects.filter(pk__in=[row.delivery for row in rows[:40]]).update(lapses=1)
    let_lapse()
    published(topic, *range(150), delay=timedelta(minutes=1))
    published(topic, *range(120), ttl=timedelta(minutes=1))
    let_pass(timedelta(minutes=2))

    def sweep_twice() -> list[Swept]:
        return [sweep(using=USING), sweep(using=USING)]

    swept = [one for some in actors.race(*[sweep_twice] * 3) for one in some]
    swept.append(sweep(using=USING))
    assert sum(one.due for one in swept) == 150
    assert sum(one.lapsed for one in swept) == 100
    assert sum(one.expired for one in swept) == 120
    assert DeadLetter.objects.filter(reason="lease_lost").count() == 40
    assert SettledDelivery.objects.filter(outcome="expired").count() == 120
    assert Delivery.objects.filter(state="ready").count() == 210
    folded = dict(TrafficMinute.objects.values_list("outcome").annotate(Sum("count")))
    assert folded == {"dead": 40, "expired": 120}


def test_folders_at_once_lose_nothing_that_is_appended_meanwhile(actors: Actors, topic: Topic) -> None:
    billing = make_subscription(topic)
    published(topic, *range(120))

    def work() -> None:
        while rows := claimed(billing, count=2):
            acked(rows, billing)

    def fold_on() -> int:
        return sum(fold(using=USING, batch=7) for _ in range(40))

    *_, one, other = actors.race(work, work, fold_on, fold_on)
    while rest := fold(using=USING):
        one += rest
    assert one + other == 60
    assert not Traffic.objects.exists()
    assert TrafficMinute.objects.aggregate(Sum("count"))["count__sum"] == 120
    assert sum(sum(buckets) for buckets in TrafficMinute.objects.values_list("buckets", flat=True)) == 120


def test_a_poison_message_takes_no_other_down(actors: Actors, topic: Topic) -> None:
    """A worker that claims the poison vanishes with all that it holds; each time its leases run out."""
    billing = make_subscription(topic, transport="handler", max_attempts=3)
    messages = published(topic, *range(100))
    poison = messages[41].pk

    def work() -> int:
        done = 0
        for _ in work_is_left():
            rows = claimed(billing, count=100) or suspected(billing)
            if any(row.message == poison for row in rows):
                abandon([row.delivery for row in rows])
            else:
                done += len(acked(rows, billing))
            sweep(using=USING)
        return done

    assert sum(actors.race(work, work)) == 99
    letter = DeadLetter.objects.get()
    assert (letter.message_id, letter.reason, letter.attempts) == (poison, "lease_lost", 3)
    assert SettledDelivery.objects.filter(outcome="acked").count() == 99


def abandon(deliveries: list[int]) -> None:
    rows = Delivery.objects.filter(pk__in=deliveries, state="claimed")
    rows.update(lease_until=F("lease_until") - timedelta(hours=1))


def test_a_late_committer_is_not_skipped_by_the_stream(actors: Actors) -> None:
    topic = make_topic(stream=True)
    with opened(actors, lambda: published(topic, "early")) as late:
        [second] = published(topic, "second")
        assert [done.count for done in append(using=USING)] == [1]
    [early] = late.result()
    assert [done.head for done in append(using=USING)] == [2]
    assert early.pk < second.pk
    entries = StreamEntry.objects.order_by("position").values_list("position", "message_id")
    assert list(entries) == [(1, second.pk), (2, early.pk)]


def test_rival_pushers_give_each_message_one_position_without_a_gap(actors: Actors) -> None:
    topic = make_topic(stream=True)
    todo = list(range(40))

    def send() -> None:
        while todo:
            publish("orders", [Outgoing(n) for n in range(todo.pop() % 5 + 1)], using=USING)

    def push() -> int:
        count = 0
        for _ in work_is_left() if not todo else range(200):
            count += sum(done.count for done in append(using=USING, batch=3))
        return count

    *_, one, two, three = actors.race(send, send, push, push, push)
    rest = 0
    for _ in work_is_left():
        rest += sum(done.count for done in append(using=USING))
    positions = list(StreamEntry.objects.filter(topic=topic).order_by("position").values_list("position", flat=True))
    assert positions == list(range(1, 121))
    assert one + two + three + rest == StreamHead.objects.get().position == 120
    assert len(set(StreamEntry.objects.values_list("message_id", flat=True))) == 120


def test_a_pusher_waits_for_no_other(actors: Actors) -> None:
    topic = make_topic(stream=True)
    published(topic, 1)
    with opened(actors, lambda: append(using=USING)) as first:
        published(topic, 2)
        assert append(using=USING) == []
    assert [done.head for done in first.result()] == [1]
    assert [done.head for done in append(using=USING)] == [2]


@pytest.mark.parametrize("breaker", [None, {"failures": 10**6, "open_seconds": 60}])
def test_settling_and_a_change_of_order_wait_for_each_other_in_one_direction(
    actors: Actors, topic: Topic, breaker: Any
) -> None:
    billing = make_subscription(topic, breaker=breaker, max_attempts=10**6, retry_delay=0.0)
    todo = 30

    def change() -> None:
        for n in range(10):
            update_subscription("billing", {"ordering": n % 2 == 0}, using=USING)

    def work() -> None:
        for _ in range(todo):
            publish("orders", [Outgoing(n, ordering_key=f"k{n}") for n in range(20)], using=USING)
            rows = claimed(billing, count=20)
            acked(rows[::2], billing)
            failed(rows[1::2], ValueError(), billing)

    assert actors.race(work, work, change) == [None] * 3
    assert Subscription.objects.get().ordering is False
