from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from datapunk_broker import signals
from datapunk_broker.engine.hold import extend, hold, release
from datapunk_broker.engine.settle import Reply, Verdicts, settle
from datapunk_broker.engine.sweep import sweep
from datapunk_broker.exceptions import Reject, SchemaMismatchError
from datapunk_broker.models import Delivery, Message, SettledDelivery, Subscription, Topic, Traffic
from datapunk_broker.states import Settled
from tests.engine.make import make_subscription, make_topic, published
from tests.engine.working import (
    USING,
    acked,
    claimed,
    counted,
    failed,
    hearing,
    keys,
    let_lapse,
    only_delivery,
    outcomes,
    roster_of,
    suspected,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def topic() -> Topic:
    return make_topic()


@pytest.fixture
def billing(topic: Topic) -> Subscription:
    return make_subscription(topic)


def reclaimed(subscription: Subscription) -> tuple[Any, Any]:
    """The lost claim of the only delivery, and its current one."""
    [old] = claimed(subscription)
    let_lapse()
    sweep(using=USING)
    [new] = claimed(subscription) or suspected(subscription)
    return old, new


def test_an_ack_ends_the_delivery_and_leaves_its_history(topic: Topic, billing: Subscription) -> None:
    [message] = published(topic, 1)
    rows = claimed(billing)
    assert acked(rows, billing) == frozenset(keys(rows))
    assert not Delivery.objects.exists()
    settled = SettledDelivery.objects.get()
    assert (settled.message_id, settled.subscription_id) == (message.pk, billing.pk)
    assert (settled.outcome, settled.attempts) == (Settled.ACKED, 1)
    assert 0 <= settled.latency < 60
    assert abs(timezone.now() - settled.settled_at) < timedelta(minutes=1)


def test_acks_are_counted_by_subscription_in_one_row_a_batch(topic: Topic, billing: Subscription) -> None:
    other = make_subscription(topic, "audit")
    published(topic, 1, 2)
    acked(claimed(billing, other), billing, other)
    assert sorted(counted()) == sorted([(billing.pk, "acked", 2), (other.pk, "acked", 2)])
    for traffic in Traffic.objects.all():
        assert sum(traffic.buckets) == 2
        assert traffic.seconds >= 0
        assert (traffic.minute.second, traffic.minute.microsecond) == (0, 0)


def test_a_topic_without_history_keeps_only_the_count(topic: Topic, billing: Subscription) -> None:
    Topic.objects.update(history=False)
    published(topic, 1)
    acked(claimed(billing), billing)
    assert outcomes() == []
    assert counted() == [(billing.pk, "acked", 1)]


def test_an_ack_after_failed_attempts_says_how_many_there_were(topic: Topic, billing: Subscription) -> None:
    published(topic, 1)
    failed(claimed(billing), ValueError(), billing)
    Delivery.objects.update(state="ready")
    acked(claimed(billing), billing)
    assert [attempts for *_, attempts in outcomes()] == [2]


@pytest.mark.parametrize("end", ["ack", "fail", "reject", "release", "extend"])
def test_a_stale_token_settles_nothing(topic: Topic, billing: Subscription, end: str) -> None:
    published(topic, 1)
    old, new = reclaimed(billing)
    before = Delivery.objects.values().get()
    assert ended([old.key], end, billing) == frozenset()
    assert ended([(old.delivery, uuid4()), (old.delivery + 1, old.token)], end, billing) == frozenset()
    assert Delivery.objects.values().get() == before
    assert not SettledDelivery.objects.exists()
    assert acked([new], billing) == {new.key}


@pytest.mark.parametrize("end", ["ack", "fail", "reject", "release", "extend"])
def test_of_two_claims_of_one_delivery_in_one_call_only_the_newer_counts(
    topic: Topic, billing: Subscription, end: str
) -> None:
    published(topic, 1)
    old, new = reclaimed(billing)
    assert ended([old.key, new.key], end, billing) == {new.key}
    assert sum(count for *_, count in counted()) == (1 if end in ("ack", "reject") else 0)


def ended(claims: list[Any], end: str, subscription: Subscription) -> frozenset[Any]:
    if end == "release":
        return release(claims, using=USING)
    if end == "extend":
        return extend(claims, timedelta(minutes=1), using=USING)
    verdicts = {
        "ack": Verdicts(acked=claims),
        "fail": Verdicts(failed=dict.fromkeys(claims, ValueError())),
        "reject": Verdicts(failed=dict.fromkeys(claims, Reject("no"))),
    }
    return settle(verdicts[end], roster_of(subscription), using=USING)


def test_a_claim_that_nobody_took_over_still_counts_after_its_lease(topic: Topic, billing: Subscription) -> None:
    published(topic, 1)
    rows = claimed(billing)
    let_lapse()
    assert acked(rows, billing) == frozenset(keys(rows))


def test_a_mixed_batch_is_settled_each_as_it_went(topic: Topic, billing: Subscription) -> None:
    published(topic, *range(4))
    one, two, three, four = claimed(billing)
    verdicts = Verdicts(acked=[one.key], failed={two.key: ValueError(), three.key: Reject()}, released=[four.key])
    assert settle(verdicts, roster_of(billing), using=USING) == {one.key, two.key, three.key, four.key}
    assert [outcome for _, outcome, _ in outcomes()] == ["acked", "dead"]
    waiting = dict(Delivery.objects.values_list("pk", "state"))
    assert waiting == {two.delivery: "scheduled", four.delivery: "ready"}


def test_what_is_released_goes_back_unharmed(topic: Topic, billing: Subscription) -> None:
    published(topic, 1)
    before = Delivery.objects.values().get()
    assert len(release(keys(claimed(billing)), using=USING)) == 1
    assert Delivery.objects.values().get() == before


def test_a_suspect_that_is_released_stays_one(topic: Topic, billing: Subscription) -> None:
    published(topic, 1)
    _, new = reclaimed(billing)
    Delivery.objects.update(lapses=1)
    release([new.key], using=USING)
    assert claimed(billing) == []
    assert len(suspected(billing)) == 1


def test_an_extended_lease_counts_from_now(topic: Topic, billing: Subscription) -> None:
    published(topic, 1)
    rows = claimed(billing, lease=5)
    assert extend(keys(rows), timedelta(hours=1), using=USING) == frozenset(keys(rows))
    until = only_delivery().lease_until
    assert until is not None
    assert abs(until - timezone.now() - timedelta(hours=1)) < timedelta(minutes=1)


def test_what_is_held_has_the_clock_of_the_database(topic: Topic, billing: Subscription) -> None:
    published(topic, 1)
    rows = claimed(billing)
    with transaction.atomic():
        held = hold([*keys(rows), (rows[0].delivery, uuid4())], using=USING)
    assert list(held) == keys(rows)
    assert abs(held[rows[0].key].now - timezone.now()) < timedelta(minutes=1)
    assert hold([], using=USING) == {}


def test_a_reply_is_published_only_for_a_claim_that_was_still_held(topic: Topic, billing: Subscription) -> None:
    make_topic("answers")
    published(topic, 1)
    old, new = reclaimed(billing)
    for row, count in ((old, 0), (new, 1)):
        reply = Reply("answers", {"ok": True}, "c-7")
        settle(Verdicts(acked=[row.key], replies={row.key: reply}), roster_of(billing), using=USING)
        assert Message.objects.filter(topic__name="answers").count() == count
    assert Message.objects.get(topic__name="answers").correlation_id == "c-7"


def test_a_reply_that_is_refused_undoes_the_settlement(topic: Topic, billing: Subscription) -> None:
    make_topic("answers", schema={"type": "array"})
    published(topic, 1, 2)
    one, two = claimed(billing)
    replies = {one.key: Reply("answers", {}, None)}
    with pytest.raises(SchemaMismatchError):
        settle(Verdicts(acked=[one.key, two.key], replies=replies), roster_of(billing), using=USING)
    assert Delivery.objects.filter(state="claimed").count() == 2
    assert not Traffic.objects.exists()


def test_settling_goes_with_the_callers_transaction(topic: Topic, billing: Subscription) -> None:
    published(topic, 1)
    rows = claimed(billing)
    with transaction.atomic():
        acked(rows, billing)
        transaction.set_rollback(True)
    assert only_delivery().ack_token == rows[0].token
    assert outcomes() == counted() == []


@pytest.mark.django_db(transaction=True)
def test_what_ended_is_told_after_the_commit(topic: Topic, billing: Subscription) -> None:
    published(topic, 1, 2, 3)
    one, two, three = claimed(billing)
    with hearing(signals.settled) as heard:
        with transaction.atomic():
            acked([one, two], billing)
            failed([three], Reject(), billing)
            assert heard == []
        about = {"subscription": "billing", "topic": "orders", "using": USING}
        assert heard == [
            {**about, "outcome": Settled.ACKED, "count": 2},
            {**about, "outcome": Settled.DEAD, "count": 1},
        ]


def test_nothing_to_settle_is_nothing(billing: Subscription) -> None:
    assert settle(Verdicts(), roster_of(billing), using=USING) == frozenset()
    assert release([], using=USING) == extend([], timedelta(1), using=USING) == frozenset()
