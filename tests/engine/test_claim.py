import json
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from datapunk_broker.engine import claim as claim_engine
from datapunk_broker.engine.claim import claim, claim_guarded, with_suspects, with_work
from datapunk_broker.engine.rows import Wanted
from datapunk_broker.engine.sweep import sweep
from datapunk_broker.models import Delivery, Subscription, Topic
from tests.engine.make import delete_subscription, make_subscription, make_topic, published
from tests.engine.working import (
    USING,
    acked,
    claimed,
    let_lapse,
    messages_of,
    subscriber_of,
    suspected,
    wanted,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def topic() -> Topic:
    return make_topic()


@pytest.fixture
def billing(topic: Topic) -> Subscription:
    return make_subscription(topic)


def guarded(subscription: Subscription, share: int = 100, after: str = "") -> list[Any]:
    return claim_guarded(subscriber_of(subscription), share, after=after, using=USING)


def pks(messages: list[Any]) -> list[Any]:
    return [message.pk for message in messages]


def test_a_claim_carries_the_whole_message(topic: Topic, billing: Subscription) -> None:
    options = {"routing_key": "eu", "headers": {"n": [1]}, "priority": 3, "ordering_key": "k"}
    [message] = published(topic, {"id": 7}, **options, correlation_id="c", reply_to="answers")
    [row] = claimed(billing)
    assert (row.message, row.subscription, row.attempt) == (message.pk, billing.pk, 1)
    assert (bytes(row.body), row.encoding, row.content_type) == (b'{"id":7}', "identity", "application/json")
    assert (row.routing_key, json.loads(row.headers), row.priority) == ("eu", {"n": [1]}, 3)
    assert (row.ordering_key, row.message_ordering_key) == (None, "k")
    assert (row.published_at, row.correlation_id, row.reply_to) == (message.published_at, "c", "answers")


def test_a_claim_takes_the_highest_priority_first_and_then_the_oldest(topic: Topic, billing: Subscription) -> None:
    low, later = published(topic, 1, 2)
    [high] = published(topic, 3, priority=9)
    [middle] = published(topic, 4, priority=5)
    assert messages_of(claimed(billing, count=2)) == pks([high, middle])
    assert messages_of(claimed(billing)) == pks([low, later])
    assert claimed(billing) == []


def test_a_claim_leases_by_the_deadline_with_a_token_of_its_own(topic: Topic, billing: Subscription) -> None:
    published(topic, 1, 2)
    [first] = claimed(billing, count=1, lease=60)
    [second] = claimed(billing, count=1, lease=600)
    assert first.token != second.token
    for row, lease in ((first, 60), (second, 600)):
        delivery = Delivery.objects.get(pk=row.delivery)
        assert (delivery.state, delivery.ack_token, delivery.claims) == ("claimed", row.token, 1)
        assert delivery.lease_until is not None
        assert abs(delivery.lease_until - timezone.now() - timedelta(seconds=lease)) < timedelta(seconds=20)


def test_a_claim_shares_its_limit_among_those_with_work(topic: Topic, billing: Subscription) -> None:
    others = [make_subscription(topic, name) for name in ("audit", "mail")]
    make_subscription(make_topic("idle"), "idle")
    published(topic, *range(10))
    rows = claim(wanted(billing, *others), limit=9, using=USING)
    assert sorted(row.subscription for row in rows) == sorted([billing.pk, *(o.pk for o in others)] * 3)


def test_no_subscription_gets_more_than_its_share(topic: Topic, billing: Subscription) -> None:
    other = make_subscription(topic, "audit")
    published(topic, *range(10))
    rows = claim([Wanted(billing.pk, 2, 30), Wanted(other.pk, 100, 30)], limit=8, using=USING)
    assert [row.subscription for row in rows].count(billing.pk) == 2
    assert [row.subscription for row in rows].count(other.pk) == 4


def test_each_has_its_turn_where_there_are_more_than_a_claim_can_serve(topic: Topic) -> None:
    many = [make_subscription(topic, f"s{n}") for n in range(6)]
    published(topic, *range(50))
    served = {row.subscription for _ in range(100) for row in claim(wanted(*many), limit=2, using=USING)}
    assert served == {subscription.pk for subscription in many}


def test_a_claim_leaves_out_what_is_not_due_expired_claimed_ordered_or_suspect(
    topic: Topic, billing: Subscription
) -> None:
    [*messages] = published(topic, *range(6))
    rows = Delivery.objects
    rows.filter(message=messages[0].pk).update(state="scheduled")
    rows.filter(message=messages[1].pk).update(expires_at=Now())
    rows.filter(message=messages[2].pk).update(lapses=1)
    rows.filter(message=messages[3].pk).update(ordering_key="k")
    [first] = claimed(billing, count=1)
    assert first.message == messages[4].pk
    assert messages_of(claimed(billing)) == [messages[5].pk]


@pytest.mark.parametrize(
    "change",
    [{"state": "paused"}, {"state": "disabled"}, {"breaker_state": "open", "breaker_until": Now()}],
    ids=["paused", "disabled", "breaker open"],
)
def test_nothing_is_claimed_of_a_subscription_that_does_not_flow(
    topic: Topic, billing: Subscription, change: dict[str, Any]
) -> None:
    published(topic, 1, 2)
    Delivery.objects.filter(pk=Delivery.objects.order_by("pk")[0].pk).update(lapses=1)
    Subscription.objects.update(**change)
    assert claimed(billing) == suspected(billing) == guarded(billing) == []


def test_nothing_is_claimed_of_a_deleted_subscription(topic: Topic, billing: Subscription) -> None:
    published(topic, 1)
    delete_subscription(billing)
    assert claimed(billing) == []


def test_no_wish_is_no_claim() -> None:
    assert claim([], limit=5, using=USING) == []


def test_a_suspect_is_claimed_alone_the_oldest_first(topic: Topic, billing: Subscription) -> None:
    messages = published(topic, *range(3))
    claimed(billing)
    let_lapse()
    sweep(using=USING)
    claimed(billing)
    let_lapse()
    sweep(using=USING)
    assert claimed(billing) == []
    [first] = suspected(billing)
    assert (first.message, first.attempt) == (messages[0].pk, 3)
    [second] = suspected(billing)
    assert second.message == messages[1].pk


def test_who_has_work_is_known_whatever_kind_it_is(topic: Topic) -> None:
    names = ("plain", "suspect", "keyed", "scheduled", "claimed", "idle")
    subscriptions = {name: make_subscription(topic, name) for name in names}
    published(topic, 1)
    of = {name: Delivery.objects.of(subscription.pk) for name, subscription in subscriptions.items()}
    of["suspect"].update(lapses=2)
    of["keyed"].update(ordering_key="k")
    of["scheduled"].update(state="scheduled")
    of["idle"].delete()
    claimed(subscriptions["claimed"])
    found = with_work([subscription.pk for subscription in subscriptions.values()], using=USING)
    assert found == {subscriptions[name].pk for name in ("plain", "suspect", "keyed")}
    assert with_suspects([subscription.pk for subscription in subscriptions.values()], using=USING) == {
        subscriptions["suspect"].pk
    }
    assert with_work([], using=USING) == with_suspects([], using=USING) == set()


def test_no_more_are_in_flight_than_the_limit(topic: Topic) -> None:
    limited = make_subscription(topic, max_in_flight=3)
    published(topic, *range(10))
    assert len(guarded(limited, share=2)) == 2
    [third] = guarded(limited)
    assert guarded(limited) == []
    acked([third], limited)
    assert len(guarded(limited)) == 1


def test_suspects_count_towards_the_limit_in_flight(topic: Topic) -> None:
    limited = make_subscription(topic, max_in_flight=2)
    published(topic, *range(4))
    Delivery.objects.update(lapses=1)
    assert len(guarded(limited)) == len(suspected(limited)) == 1
    assert guarded(limited) == suspected(limited) == []


@pytest.mark.parametrize("first", [True, False])
def test_a_backlog_that_never_ends_does_not_starve_a_suspect(
    topic: Topic, monkeypatch: pytest.MonkeyPatch, *, first: bool
) -> None:
    limited = make_subscription(topic, max_in_flight=50)
    [poison, *_] = published(topic, *range(4))
    Delivery.objects.filter(message=poison.pk).update(lapses=1)
    monkeypatch.setattr(claim_engine, "SUSPECTS_SHARE", 1.0 if first else 0.0)
    rows = [guarded(limited), guarded(limited)]
    assert [len(some) for some in rows] == ([1, 3] if first else [3, 1])
    assert rows[0 if first else 1][0].message == poison.pk


def test_a_batch_window_waits_for_a_batch_or_for_its_end(topic: Topic) -> None:
    batched = make_subscription(topic, batch_window=60.0, batch_size=3)
    published(topic, 1, 2)
    assert guarded(batched) == []
    published(topic, 3)
    assert len(guarded(batched)) == 3
    published(topic, 4)
    assert guarded(batched) == []
    Delivery.objects.filter(state="ready").update(available_at=Now() - timedelta(seconds=61))
    assert len(guarded(batched)) == 1
