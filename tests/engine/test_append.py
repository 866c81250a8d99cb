"""The positions of a stream are contiguous from 1, in the order in which messages were appended."""

from datetime import timedelta

import pytest
from django.db import transaction

from datapunk_broker.engine.append import Appended, append
from datapunk_broker.engine.sweep import sweep_due
from datapunk_broker.models import Delivery, SettledDelivery, StreamEntry, StreamHead, Subscription, Topic
from tests.engine.make import delete_topic, make_subscription, make_topic, published
from tests.engine.working import USING, claimed, let_pass

pytestmark = pytest.mark.django_db


@pytest.fixture
def topic() -> Topic:
    return make_topic(stream=True)


def appended(batch: int = 500) -> list[tuple[str, int, int]]:
    return [(done.topic, done.count, done.head) for done in append(using=USING, batch=batch)]


def stream_of(topic: Topic) -> list[tuple[int, object]]:
    entries = StreamEntry.objects.filter(topic=topic).order_by("position")
    return list(entries.values_list("position", "message_id"))


def test_messages_are_appended_in_the_order_of_publishing(topic: Topic) -> None:
    messages = published(topic, *range(5))
    assert append(using=USING) == [Appended("orders", 5, 5)]
    assert stream_of(topic) == list(enumerate([m.pk for m in messages], start=1))
    assert not Delivery.objects.exists()
    assert not SettledDelivery.objects.exists()


def test_priority_does_not_reorder_the_stream(topic: Topic) -> None:
    messages = [*published(topic, 1), *published(topic, 2, priority=9), *published(topic, 3, ordering_key="k")]
    appended()
    assert [message for _, message in stream_of(topic)] == [m.pk for m in messages]


def test_batches_go_on_at_the_next_position(topic: Topic) -> None:
    published(topic, *range(5))
    assert [appended(2), appended(2), appended(2), appended(2)] == [
        [("orders", 2, 2)],
        [("orders", 2, 4)],
        [("orders", 1, 5)],
        [],
    ]
    assert [position for position, _ in stream_of(topic)] == [1, 2, 3, 4, 5]
    assert StreamHead.objects.get().position == 5


def test_each_stream_has_positions_of_its_own(topic: Topic) -> None:
    other = make_topic("refunds", stream=True)
    make_topic("silent")
    published(topic, 1, 2)
    published(other, 3)
    published("silent", 4)
    assert sorted(appended()) == [("orders", 2, 2), ("refunds", 1, 1)]


def test_a_delayed_message_joins_when_it_is_due(topic: Topic) -> None:
    [late] = published(topic, "late", delay=timedelta(minutes=1))
    [first] = published(topic, "first")
    appended()
    assert appended() == []
    let_pass(timedelta(minutes=2))
    sweep_due(using=USING)
    assert appended() == [("orders", 1, 2)]
    assert [message for _, message in stream_of(topic)] == [first.pk, late.pk]


def test_a_message_past_its_time_is_not_appended(topic: Topic) -> None:
    published(topic, 1, ttl=timedelta(0))
    [living] = published(topic, 2, ttl=timedelta(hours=1))
    appended()
    assert stream_of(topic) == [(1, living.pk)]


def test_an_append_that_is_undone_leaves_no_gap(topic: Topic) -> None:
    published(topic, 1)
    with transaction.atomic():
        appended()
        transaction.set_rollback(True)
    assert stream_of(topic) == []
    assert appended() == [("orders", 1, 1)]


def test_subscriptions_keep_their_own_deliveries(topic: Topic) -> None:
    billing = make_subscription(topic)
    published(topic, 1)
    appended()
    assert len(claimed(billing)) == 1


@pytest.mark.parametrize("end", ["deleted", "paused"])
def test_a_stream_that_is_not_active_is_left_alone(topic: Topic, end: str) -> None:
    published(topic, 1)
    if end == "deleted":
        delete_topic(topic)
    else:
        Subscription.objects.filter(transport="stream").update(state="paused")
    assert appended() == []
