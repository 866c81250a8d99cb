"""The limit of a backlog is soft: the sweep raises a flag that publishing reads, or lets the oldest give way."""

from typing import Any

import pytest

from datapunk_broker.engine import limits
from datapunk_broker.engine.publish import publish
from datapunk_broker.engine.sweep import sweep
from datapunk_broker.envelope import Outgoing
from datapunk_broker.exceptions import QueueFullError
from datapunk_broker.models import DeadLetter, Delivery, Message, Subscription, Topic
from datapunk_broker.states import FailureReason
from tests.engine.make import make_subscription, make_topic, published
from tests.engine.working import USING, acked, claimed, counted, only_delivery, outcomes

pytestmark = pytest.mark.django_db


def dropped() -> int:
    return sweep(using=USING).dropped


def flagged() -> list[str]:
    return list(Subscription.objects.filter(over_limit=True).order_by("name").values_list("name", flat=True))


@pytest.fixture
def topic() -> Topic:
    return make_topic(max_queue_size=3)


def test_a_full_backlog_is_flagged_and_refused_and_cleared_again(topic: Topic) -> None:
    billing = make_subscription(topic)
    published(topic, 1, 2, 3, 4)
    assert dropped() == 0
    assert flagged() == ["billing"]
    with pytest.raises(QueueFullError):
        publish("orders", [Outgoing(5)], using=USING)
    acked(claimed(billing, count=2), billing)
    dropped()
    assert flagged() == []
    published(topic, 5)
    assert Message.objects.count() == 5


def test_below_its_limit_nothing_is_flagged(topic: Topic) -> None:
    make_subscription(topic)
    published(topic, 1, 2)
    dropped()
    assert flagged() == []


def test_the_flag_of_one_subscription_is_no_other_ones(topic: Topic) -> None:
    one, _ = make_subscription(topic, "one"), make_subscription(topic, "two")
    published(topic, 1, 2)
    published(topic, 3)
    Delivery.objects.of(one.pk).filter(pk=Delivery.objects.of(one.pk).earliest("pk").pk).delete()
    dropped()
    assert flagged() == ["two"]


@pytest.mark.parametrize("kind", ["plain", "suspect", "keyed", "scheduled", "claimed", "keyed and claimed"])
def test_every_unsettled_delivery_counts_once(topic: Topic, kind: str) -> None:
    billing = make_subscription(topic)
    published(topic, 1, 2, 3)
    if "claimed" in kind:
        assert len(claimed(billing)) == 3
    changes: dict[str, dict[str, Any]] = {
        "suspect": {"lapses": 1},
        "keyed": {"ordering_key": "k"},
        "keyed and claimed": {"ordering_key": "k", "lapses": 1},
        "scheduled": {"state": "scheduled", "available_at": "9999-01-01T00:00:00Z"},
    }
    if kind in changes:
        Delivery.objects.update(**changes[kind])
    dropped()
    assert flagged() == ["billing"]
    Topic.objects.update(max_queue_size=4)
    dropped()
    assert flagged() == []


def test_the_settings_limit_holds_where_the_topic_has_none(settings: Any) -> None:
    settings.DATAPUNK_BROKER = {"MAX_QUEUE_SIZE": 2}
    for name, own in (("limited", None), ("free", 0), ("roomy", 9)):
        make_subscription(make_topic(name, max_queue_size=own), name)
        published(name, 1, 2, 3)
    dropped()
    assert flagged() == ["limited"]
    settings.DATAPUNK_BROKER = {}
    dropped()
    assert flagged() == []


def test_the_oldest_are_dropped_and_counted_as_such(topic: Topic) -> None:
    Topic.objects.update(overflow="drop_oldest")
    billing = make_subscription(topic)
    messages = [*published(topic, 1, 2, 3), *published(topic, 4, 5, priority=9)]
    assert dropped() == 2
    assert outcomes() == [(message.pk, "dropped", 0) for message in messages[:2]]
    assert counted() == []  # folded by the same sweep
    assert not DeadLetter.objects.exists()
    assert Delivery.objects.of(billing.pk).count() == 3
    assert (dropped(), flagged()) == (0, [])


def test_the_oldest_become_dead_letters(topic: Topic) -> None:
    Topic.objects.update(overflow="dead_letter_oldest")
    make_subscription(topic)
    oldest, *_ = published(topic, 1, 2, 3, 4)
    assert dropped() == 1
    letter = DeadLetter.objects.get()
    assert (letter.message_id, letter.reason) == (oldest.pk, FailureReason.OVERFLOW)


def test_what_a_worker_holds_does_not_give_way(topic: Topic) -> None:
    Topic.objects.update(overflow="drop_oldest", max_queue_size=1)
    billing = make_subscription(topic)
    published(topic, 1, 2, 3)
    rows = claimed(billing, count=1)
    assert dropped() == 2
    assert only_delivery().pk == rows[0].delivery


def test_a_great_excess_gives_way_a_batch_at_a_time(topic: Topic) -> None:
    Topic.objects.update(overflow="drop_oldest")
    make_subscription(topic)
    published(topic, *range(10))
    assert limits.hold_limits(using=USING, batch=4) == 4
    assert limits.hold_limits(using=USING, batch=4) == 3
    assert limits.hold_limits(using=USING, batch=4) == 0


def test_many_limited_subscriptions_are_all_looked_at(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AT_ONCE", 2)
    names = [f"s{n}" for n in range(5)]
    for name in names:
        make_subscription(topic, name)
    published(topic, 1, 2, 3)
    dropped()
    assert flagged() == names


def test_a_stream_has_no_limit() -> None:
    topic = make_topic("live", stream=True, max_queue_size=1, overflow="drop_oldest")
    published(topic, 1, 2, 3)
    assert dropped() == 0
    assert Delivery.objects.count() == 3
