from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from datapunk_broker.engine import seek as seek_module
from datapunk_broker.engine.seek import Sought, seek
from datapunk_broker.exceptions import PayloadInvalidError, SubscriptionNotFoundError
from datapunk_broker.models import (
    DeadLetter,
    Delivery,
    Message,
    SettledDelivery,
    Subscription,
    Topic,
    Traffic,
)
from datapunk_broker.states import DeliveryState, Settled
from tests.engine.make import (
    aged,
    balanced,
    claimed,
    delete_subscription,
    ended,
    make_subscription,
    make_topic,
    published,
)

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


@pytest.fixture
def topic() -> Topic:
    return make_topic()


@pytest.fixture
def billing(topic: Topic) -> Subscription:
    return make_subscription(topic)


def sought(to: datetime | int, subscription: str = "billing", **options: Any) -> Sought:
    return seek(subscription, to=to, using="default", **options)


def an_hour_ago() -> datetime:
    return timezone.now() - HOUR


def owed(subscription: Subscription) -> list[Any]:
    """What the subscription is owed, in the order it would get it."""
    return list(Delivery.objects.of(subscription.pk).order_by("pk").values_list("message_id", flat=True))


def ids(messages: Sequence[Message]) -> list[Any]:
    return [message.pk for message in messages]


def test_going_forward_drops_what_waits_and_says_so_in_history_and_traffic(topic: Topic, billing: Subscription) -> None:
    other = make_subscription(topic, "other")
    ready, scheduled, held = aged(published(topic, 1, 2, 3), 2 * HOUR)
    [recent] = published(topic, 4)
    Delivery.objects.filter(message=scheduled).update(state=DeliveryState.SCHEDULED, attempt=1)
    claimed(billing, [held])
    assert sought(an_hour_ago()) == Sought(rearmed=0, recreated=0, settled=2)
    assert owed(billing) == ids([held, recent])
    assert len(owed(other)) == 4
    rows = SettledDelivery.objects.filter(subscription=billing, outcome=Settled.DROPPED).order_by("message_id")
    assert list(rows.values_list("message_id", "attempts")) == [(ready.pk, 0), (scheduled.pk, 1)]
    assert rows[0].latency == pytest.approx(7200, abs=60)
    traffic = Traffic.objects.get()
    assert (traffic.subscription_id, traffic.outcome, traffic.count) == (billing.pk, "dropped", 2)
    assert not DeadLetter.objects.exists()
    assert balanced()


def test_seeking_to_the_future_drops_the_whole_backlog(topic: Topic, billing: Subscription) -> None:
    published(topic, 1, 2)
    assert sought(timezone.now() + HOUR) == Sought(0, 0, 2)
    assert owed(billing) == []
    assert balanced()


def test_seeking_without_history_leaves_no_row_but_counts() -> None:
    topic = make_topic(history=False)
    make_subscription(topic)
    published(topic, 1)
    assert sought(timezone.now() + HOUR).settled == 1
    assert not SettledDelivery.objects.exists()
    assert Traffic.objects.get().count == 1


@pytest.mark.parametrize("size", [2, 3, 500])
def test_batches_go_oldest_first_and_report_progress(
    topic: Topic, billing: Subscription, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(seek_module, "BATCH", size)
    aged(published(topic, *range(3)), 2 * HOUR)
    messages = published(topic, *range(7))
    ended(billing, messages)
    seen: list[int] = []
    assert sought(an_hour_ago(), progress=seen.append) == Sought(7, 0, 3)
    assert owed(billing) == ids(messages)
    assert seen == sorted(seen)
    assert seen[-1] == 10
    assert balanced()


@pytest.mark.parametrize("count", [1, 25])
def test_a_batch_takes_ten_statements_whatever_its_size(topic: Topic, billing: Subscription, count: int) -> None:
    ended(billing, published(topic, *range(count)))
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        sought(an_hour_ago())
    statements = [q["sql"] for q in queries if "SAVEPOINT" not in q["sql"]]
    assert len(statements) == 10, statements


@pytest.mark.parametrize(
    "to",
    [
        timezone.now().replace(tzinfo=None),
        "2026-01-01T00:00:00Z",
        None,
        True,
        -1,
        2**63,
        1.5,
    ],
)
def test_a_time_without_zone_or_a_position_that_is_none_is_refused(
    topic: Topic, billing: Subscription, to: Any
) -> None:
    published(topic, 1)
    with pytest.raises(PayloadInvalidError, match="to: "):
        sought(to)
    assert Delivery.objects.count() == 1


def test_the_ends_of_the_calendar_are_times(topic: Topic, billing: Subscription) -> None:
    ended(billing, published(topic, 1))
    assert sought(datetime.max.replace(tzinfo=UTC)) == Sought(0, 0, 0)
    assert sought(datetime.min.replace(tzinfo=UTC)) == Sought(1, 0, 0)


def test_only_subscriptions_that_people_made_can_be_sought(topic: Topic, billing: Subscription) -> None:
    make_topic("streamed", stream=True)
    delete_subscription(billing)
    for name in ("stream:streamed", "billing", "unheard-of"):
        with pytest.raises(SubscriptionNotFoundError, match=name):
            sought(an_hour_ago(), name)


def test_a_topic_without_messages_is_sought_in_peace(billing: Subscription) -> None:
    assert sought(an_hour_ago()) == Sought(0, 0, 0)
