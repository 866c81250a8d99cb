"""Acks, nacks, rejections and extensions by ack id."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from datapunk_broker.engine import pull as pull_engine
from datapunk_broker.engine.pull import extend_pulled, pull, release_pulled, settle_pulled
from datapunk_broker.engine.sweep import sweep
from datapunk_broker.envelope import Received
from datapunk_broker.exceptions import ConfigInvalidError, Nack, Reject, RetryAfter
from datapunk_broker.models import DeadLetter, Delivery, SettledDelivery, Subscription, Topic
from tests.engine.make import make_subscription, make_topic, published
from tests.engine.working import USING, counted, let_lapse, only_delivery

pytestmark = pytest.mark.django_db


@pytest.fixture
def topic() -> Topic:
    return make_topic()


@pytest.fixture
def audit(topic: Topic) -> Subscription:
    return make_subscription(topic, "audit")


def pulled(count: int = 100, name: str = "audit") -> list[Received[Any]]:
    return pull(name, max_messages=count, using=USING)


def ids(messages: list[Received[Any]]) -> list[str]:
    return [message.ack_id for message in messages]


def lost(*ack_ids: Any) -> bool:
    settlement = settle_pulled(ack_ids, using=USING)
    return settlement.settled == () and settlement.lost == tuple(dict.fromkeys(ack_ids))


def let_everything_lapse() -> None:
    let_lapse()
    sweep(using=USING)


@pytest.mark.parametrize("mode", ["at_least_once", "exactly_once"])
def test_an_acked_message_never_comes_again_and_only_the_newest_ack_id_counts(
    topic: Topic, audit: Subscription, mode: str
) -> None:
    Subscription.objects.update(delivery_mode=mode)
    published(topic, 1)
    [first] = pulled()
    let_everything_lapse()
    [second] = pulled()
    assert (first.id, first.attempt, second.attempt) == (second.id, 1, 2)
    settlement = settle_pulled([first.ack_id, second.ack_id], using=USING)
    assert (settlement.settled, settlement.lost) == ((second.ack_id,), (first.ack_id,))
    assert lost(first.ack_id, second.ack_id)
    assert pulled() == []
    assert counted() == [(audit.pk, "acked", 1)]


def test_a_nack_is_a_failed_attempt_and_may_name_its_wait(topic: Topic, audit: Subscription) -> None:
    Subscription.objects.update(max_attempts=3)
    published(topic, 1)
    settle_pulled(ids(pulled()), RetryAfter(0), using=USING)
    settle_pulled(ids(pulled()), RetryAfter(timedelta(minutes=5)), using=USING)
    delivery = only_delivery()
    assert delivery.attempt == 2
    assert timedelta(minutes=4) < delivery.available_at - timezone.now() < timedelta(minutes=6)
    Delivery.objects.update(state="ready")
    settle_pulled(ids(pulled()), Nack(), using=USING)
    assert DeadLetter.objects.get().reason == "attempts_exhausted"


def test_a_rejected_message_is_dead_with_its_reason(topic: Topic, audit: Subscription) -> None:
    published(topic, 1)
    settle_pulled(ids(pulled()), Reject("no customer"), using=USING)
    letter = DeadLetter.objects.get()
    assert (letter.reason, letter.error_message) == ("rejected", "no customer")


def test_an_extended_lease_outlives_the_first_one(topic: Topic, audit: Subscription) -> None:
    published(topic, 1)
    [message] = pulled()
    let_lapse()
    settlement = extend_pulled([message.ack_id, "none"], timedelta(minutes=5), using=USING)
    assert (settlement.settled, settlement.lost) == ((message.ack_id,), ("none",))
    sweep(using=USING)
    assert not lost(message.ack_id)


@pytest.mark.parametrize("by", [timedelta(microseconds=-1), timedelta(days=8), timedelta.max])
def test_a_lease_goes_from_none_to_a_week(audit: Subscription, by: timedelta) -> None:
    with pytest.raises(ConfigInvalidError, match="by"):
        extend_pulled([], by, using=USING)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda ack_id: "",
        lambda ack_id: "-",
        lambda ack_id: ack_id.upper(),
        lambda ack_id: f" {ack_id}",
        lambda ack_id: f"0{ack_id}",
        lambda ack_id: f"0x{ack_id}",
        lambda ack_id: ack_id + "0",
        lambda ack_id: ack_id[:-1],
        lambda ack_id: ack_id.replace("-", "-{") + "}",
        lambda ack_id: f"-{ack_id}",
        lambda ack_id: "f" * 99 + ack_id[1:],
        lambda ack_id: ack_id + "\0",
        lambda ack_id: "\ud800",
        lambda ack_id: None,
        lambda ack_id: 7,
    ],
)
def test_whatever_is_no_ack_id_is_lost(topic: Topic, audit: Subscription, spoil: Callable[[str], Any]) -> None:
    published(topic, 1)
    [message] = pulled()
    assert lost(spoil(message.ack_id))
    assert lost(*[spoil(message.ack_id)] * 2)
    assert not lost(message.ack_id)


def test_an_ack_id_counts_only_for_the_subscription_that_is_named(topic: Topic, audit: Subscription) -> None:
    make_subscription(topic, "other")
    published(topic, 1)
    [mine], [theirs] = pulled(), pulled(name="other")
    for settle in (
        lambda given: settle_pulled(given, subscription="audit", using=USING),
        lambda given: settle_pulled(given, Nack(), subscription="audit", using=USING),
        lambda given: extend_pulled(given, timedelta(1), subscription="audit", using=USING),
        lambda given: release_pulled(given, subscription="audit", using=USING),
    ):
        assert settle([theirs.ack_id]).lost == (theirs.ack_id,)
    settlement = settle_pulled([theirs.ack_id, mine.ack_id], using=USING)
    assert settlement.settled == (theirs.ack_id, mine.ack_id)


def test_any_number_is_settled_in_the_order_asked(
    topic: Topic, audit: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(topic, *range(10))
    given = ids(pulled())
    monkeypatch.setattr(pull_engine, "LARGEST_PULL", 3)
    settlement = settle_pulled([*reversed(given), "none", given[0]], using=USING)
    assert (settlement.settled, settlement.lost) == (tuple(reversed(given)), ("none",))
    assert SettledDelivery.objects.count() == 10


def test_what_is_released_comes_again_unharmed(topic: Topic, audit: Subscription) -> None:
    published(topic, 1)
    assert release_pulled(ids(pulled()), using=USING).lost == ()
    assert [message.attempt for message in pulled()] == [1]
