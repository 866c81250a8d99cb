"""Several workers at once: each delivery has one claim that counts."""

import threading
from collections import Counter
from typing import Any

import pytest
from django.db.models.functions import Now

from datapunk_broker.engine.claim import claim_guarded, claim_probe
from datapunk_broker.engine.hold import release
from datapunk_broker.engine.settle import Verdicts, settle
from datapunk_broker.engine.sweep import sweep
from datapunk_broker.models import Delivery, SettledDelivery, Subscription, Topic
from tests.engine.make import make_subscription, make_topic, published
from tests.engine.working import (
    USING,
    acked,
    claimed,
    counted,
    failed,
    let_lapse,
    roster_of,
    subscriber_of,
    suspected,
)
from tests.races.actors import Actors, work_is_left

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def topic() -> Topic:
    return make_topic()


@pytest.fixture
def billing(topic: Topic) -> Subscription:
    return make_subscription(topic)


def test_claimers_never_share_a_delivery(actors: Actors, topic: Topic, billing: Subscription) -> None:
    audit = make_subscription(topic, "audit")
    published(topic, *range(300))

    def drain() -> list[int]:
        taken = []
        while rows := claimed(billing, audit, count=7):
            taken += [row.delivery for row in rows]
        return taken

    taken = [delivery for some in actors.race(*[drain] * 4) for delivery in some]
    assert len(taken) == len(set(taken)) == 600
    assert Delivery.objects.filter(state="claimed", claims=1).count() == 600


def test_each_delivery_is_acked_once_whoever_claims_releases_and_sweeps_it(actors: Actors, topic: Topic) -> None:
    billing = make_subscription(topic, max_attempts=10**6)
    published(topic, *range(60))

    def work() -> int:
        done = 0
        for _ in work_is_left():
            rows = claimed(billing, count=10) or suspected(billing)
            release([row.key for row in rows[1::3]], using=USING)
            done += len(acked(rows, billing))
        return done

    def disturb() -> int:
        for _ in range(20):
            let_lapse()
            sweep(using=USING)
        return 0

    assert sum(actors.race(work, work, work, disturb)) == 60
    assert SettledDelivery.objects.filter(outcome="acked").count() == 60


def test_a_late_ack_does_not_settle_the_claim_that_followed(
    actors: Actors, topic: Topic, billing: Subscription
) -> None:
    for _ in range(10):
        published(topic, 1)
        [late] = claimed(billing)
        let_lapse()

        def take_over() -> Any:
            sweep(using=USING)
            return [row.key for row in claimed(billing) or suspected(billing)]

        settled, taken = actors.race(lambda late=late: acked([late], billing), take_over)
        if settled:
            assert taken == []
            assert not Delivery.objects.exists()
        else:
            current = Delivery.objects.get()
            assert taken in ([], [(current.pk, current.ack_token)])
            Delivery.objects.all().delete()


def test_of_two_who_settle_one_claim_one_does(actors: Actors, topic: Topic, billing: Subscription) -> None:
    published(topic, *range(50))
    rows = claimed(billing)
    settled = actors.race(*(lambda: acked(rows, billing) for _ in range(4)))
    assert sorted(len(keys) for keys in settled) == [0, 0, 0, 50] or sum(map(len, settled)) == 50
    assert Counter(key for keys in settled for key in keys) == {row.key: 1 for row in rows}
    assert sum(count for *_, count in counted()) == 50


def test_an_ack_and_a_failure_of_one_claim_are_not_both_done(
    actors: Actors, topic: Topic, billing: Subscription
) -> None:
    published(topic, *range(50))
    rows = claimed(billing)
    ack, fail = actors.race(lambda: acked(rows, billing), lambda: failed(rows, ValueError(), billing))
    assert not ack & fail
    assert len(ack | fail) == 50
    assert (SettledDelivery.objects.count(), Delivery.objects.count()) == (len(ack), len(fail))


def test_claimers_of_an_ordered_subscription_keep_each_key_in_order(actors: Actors, topic: Topic) -> None:
    ledger = make_subscription(topic, "ledger", ordering=True)
    for n in range(30):
        for key in "abcde":
            published(topic, f"{key}{n:02}", ordering_key=key)
    subscriber, roster = subscriber_of(ledger), roster_of(ledger)
    lock, holding, handled = threading.Lock(), Counter[str](), []

    def work() -> None:
        for _ in work_is_left():
            rows = claim_guarded(subscriber, 7, using=USING)
            mine = {row.ordering_key or "" for row in rows}
            with lock:
                holding.update(mine)
                assert all(holding[key] == 1 for key in mine), "two workers have one key"
                handled.extend(bytes(row.body) for row in rows)
                holding.subtract(mine)
            settle(Verdicts(acked=[row.key for row in rows]), roster, using=USING)

    assert actors.race(*[work] * 4) == [None] * 4
    assert len(handled) == 150
    for key in b"abcde":
        of_key = [body for body in handled if body[1] == key]
        assert of_key == sorted(of_key)


def test_no_more_are_in_flight_than_the_limit_however_many_claim(actors: Actors, topic: Topic) -> None:
    limited = make_subscription(topic, "limited", max_in_flight=5)
    published(topic, *range(100))
    Delivery.objects.filter(pk__in=list(Delivery.objects.values_list("pk", flat=True)[:20])).update(lapses=1)
    subscriber = subscriber_of(limited)
    lock, flying, most = threading.Lock(), [0], [0]

    def work() -> int:
        done = 0
        for _ in work_is_left():
            rows = claim_guarded(subscriber, 3, using=USING) or suspected(limited)
            with lock:
                flying[0] += len(rows)
                most[0] = max(most[0], flying[0])
            with lock:
                flying[0] -= len(rows)
            done += len(acked(rows, limited))
        return done

    assert sum(actors.race(*[work] * 4)) == 100
    assert 0 < most[0] <= 5


def test_of_several_who_claim_one_suspect_one_does(actors: Actors, topic: Topic, billing: Subscription) -> None:
    published(topic, *range(8))
    Delivery.objects.update(lapses=1)
    for left in (4, 0):
        rows = actors.race(*(lambda: suspected(billing) for _ in range(4)))
        taken = [row.delivery for some in rows for row in some]
        while len(taken) < 4:  # one that another had locked was left to it
            taken += [row.delivery for row in suspected(billing)]
        assert len(set(taken)) == len(taken) == 4
        assert Delivery.objects.filter(state="ready").count() == left


def test_of_several_who_probe_an_open_breaker_one_does(actors: Actors, topic: Topic) -> None:
    guarded = make_subscription(topic, "guarded", breaker={"failures": 1, "open_seconds": 60}, max_attempts=50)
    published(topic, *range(10))
    failed(claimed(guarded, count=1), ValueError(), guarded)
    for outcome in (failed, acked):
        Subscription.objects.filter(pk=guarded.pk).update(breaker_until=Now())
        subscriber = subscriber_of(guarded)
        probes = actors.race(*(lambda: claim_probe(subscriber, using=USING) for _ in range(4)))
        [probe] = [row for rows in probes for row in rows]
        if outcome is failed:
            failed([probe], ValueError(), guarded)
        else:
            acked([probe], guarded)
    guarded.refresh_from_db()
    assert guarded.breaker_state == "closed"


def test_failures_of_several_workers_are_all_counted(actors: Actors, topic: Topic) -> None:
    guarded = make_subscription(topic, "guarded", breaker={"failures": 1000, "open_seconds": 60}, max_attempts=50)
    published(topic, *range(60))
    batches = [claimed(guarded, count=5) for _ in range(12)]

    def fail() -> None:
        while batches:
            failed(batches.pop(), ValueError(), guarded)

    assert actors.race(*[fail] * 4) == [None] * 4
    guarded.refresh_from_db()
    assert guarded.breaker_failures == 60


def test_two_who_ack_the_same_in_another_order_do_not_wait_for_each_other_for_ever(
    actors: Actors, topic: Topic, billing: Subscription
) -> None:
    for _ in range(10):
        published(topic, *range(100))
        rows = claimed(billing, count=100)
        orders = (rows, rows[::-1])
        settled = actors.race(*[lambda some=some: acked(some, billing) for some in orders])
        assert sum(map(len, settled)) == 100
