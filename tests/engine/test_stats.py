import json
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from datapunk_broker.engine.fold import fold
from datapunk_broker.engine.prune import prune
from datapunk_broker.engine.stats import Stats, SubscriptionStats, stats
from datapunk_broker.models import DeadLetter, Delivery, Message, Traffic, TrafficMinute
from datapunk_broker.states import (
    BreakerState,
    DeliveryState,
    FailureReason,
    Settled,
    SubscriptionState,
    TopicType,
    Transport,
)
from tests.engine.make import (
    aged,
    claimed,
    delete_subscription,
    delete_topic,
    died,
    ended,
    make_subscription,
    make_topic,
    published,
)

pytestmark = pytest.mark.django_db


def of(name: str) -> SubscriptionStats:
    [found] = [s for s in stats(using="default").subscriptions if s.name == name]
    return found


def traffic(subscription: int, outcome: Settled, count: int) -> None:
    minute = timezone.now().replace(second=0, microsecond=0)
    Traffic.objects.create(
        subscription_id=subscription, minute=minute, outcome=outcome, count=count, seconds=0.0, buckets=[]
    )


def test_an_empty_broker_has_empty_stats() -> None:
    assert stats(using="default") == Stats((), (), {})


def test_topics_say_how_many_messages_they_keep_and_how_many_came_in_the_last_minute() -> None:
    topic = make_topic(type=TopicType.DIRECT)
    make_topic("empty")
    delete_topic(make_topic("gone"))
    messages = published(topic, *range(5))
    aged(messages[:2], timedelta(minutes=2))
    topics = stats(using="default").topics
    assert [(t.name, t.type, t.messages, t.published_per_minute) for t in topics] == [
        ("empty", TopicType.FANOUT, 0, 0),
        ("orders", TopicType.DIRECT, 5, 3),
    ]


def test_subscriptions_say_what_they_are_and_what_waits_in_which_state() -> None:
    topic = make_topic(stream=True)
    billing = make_subscription(topic, transport=Transport.HANDLER, state=SubscriptionState.PAUSED)
    delete_subscription(make_subscription(topic, "gone"))
    messages = published(topic, *range(3))
    published(topic, "later", delay=timedelta(hours=1))
    claimed(billing, messages[:1])
    [line] = stats(using="default").subscriptions
    assert (line.name, line.topic, line.transport) == ("billing", "orders", Transport.HANDLER)
    assert (line.state, line.breaker_state) == (SubscriptionState.PAUSED, BreakerState.CLOSED)
    assert line.backlog == {"scheduled": 1, "ready": 2, "claimed": 1}


def test_oldest_unacked_is_the_age_of_what_waits_longest() -> None:
    topic = make_topic()
    billing = make_subscription(topic)
    make_subscription(make_topic("idle"), "idle")
    old, held, _ = published(topic, *range(3))
    aged([old], timedelta(minutes=10))
    claimed(billing, aged([held], timedelta(minutes=20)))
    assert of("billing").oldest_unacked == pytest.approx(1200, abs=30)
    assert of("idle").oldest_unacked is None


def test_what_is_not_due_yet_is_not_late() -> None:
    topic = make_topic()
    make_subscription(topic)
    [later] = published(topic, 1, delay=timedelta(hours=2))
    aged([later], timedelta(hours=1))
    assert of("billing").oldest_unacked is None
    Delivery.objects.update(state=DeliveryState.READY, available_at=timezone.now() - timedelta(seconds=30))
    assert of("billing").oldest_unacked == pytest.approx(30, abs=20)


def test_a_retry_counts_from_when_its_message_was_published() -> None:
    topic = make_topic()
    make_subscription(topic)
    aged(published(topic, 1), timedelta(hours=1))
    soon = timezone.now() + timedelta(seconds=30)
    Delivery.objects.update(state=DeliveryState.SCHEDULED, attempt=1, available_at=soon)
    assert of("billing").oldest_unacked == pytest.approx(3600, abs=30)


def test_totals_add_up_what_is_folded_and_what_is_not() -> None:
    topic = make_topic()
    billing, other = make_subscription(topic), make_subscription(topic, "other")
    traffic(billing.pk, Settled.ACKED, 3)
    traffic(billing.pk, Settled.DEAD, 1)
    traffic(other.pk, Settled.DROPPED, 7)
    assert fold(using="default") == 3
    traffic(billing.pk, Settled.ACKED, 2)
    TrafficMinute.objects.create(topic_id=topic.pk, minute=timezone.now(), outcome="published", count=99)
    assert of("billing").settled == {"acked": 5, "dead": 1, "expired": 0, "dropped": 0}
    assert of("other").settled == {"acked": 0, "dead": 0, "expired": 0, "dropped": 7}


def test_open_dead_letters_are_counted_by_reason_for_each_subscription_and_in_all() -> None:
    topic = make_topic()
    billing, gone = make_subscription(topic), make_subscription(topic, "gone")
    messages = published(topic, *range(4))
    died(billing, messages[:2], FailureReason.TIMEOUT)
    died(billing, messages[2:3], FailureReason.REJECTED)
    [closed] = died(billing, messages[3:], FailureReason.REJECTED)
    DeadLetter.objects.filter(pk=closed.pk).update(redriven_at=timezone.now())
    died(gone, messages[:1], FailureReason.TIMEOUT)
    delete_subscription(gone)
    assert of("billing").dead_letters == {"timeout": 2, "rejected": 1}
    assert stats(using="default").dead_letters == {"timeout": 3, "rejected": 1}


def test_it_takes_nine_statements_whatever_there_is() -> None:
    for name in ("a", "b", "c"):
        topic = make_topic(name)
        for number in range(3):
            make_subscription(topic, f"{name}{number}")
        published(topic, 1, 2)
    with CaptureQueriesContext(connection) as queries:
        stats(using="default")
    assert len(queries) == 9, [q["sql"] for q in queries]


def test_what_is_kept_is_known_without_a_walk_over_it() -> None:
    topic = make_topic(retention_hours=1)
    kept = make_subscription(topic)
    messages = published(topic, *range(5))
    ended(kept, messages[:2])
    aged(messages, timedelta(hours=3))
    published(topic, "new")
    for _ in range(2):
        prune(using="default")
        with CaptureQueriesContext(connection) as queries:
            [line] = stats(using="default").topics
        assert line.messages == Message.objects.count() == 4
    counts = [q["sql"] for q in queries if 'COUNT("datapunk_broker_message"' in q["sql"]]
    assert len(counts) == 2
    assert all('"datapunk_broker_message"."id" >=' in sql for sql in counts), counts
    assert "'00000000" not in "".join(counts)


def test_it_can_be_said_in_json() -> None:
    topic = make_topic()
    make_subscription(topic)
    published(topic, 1)
    told = json.loads(json.dumps(stats(using="default").to_dict()))
    assert told["topics"] == [{"name": "orders", "type": "fanout", "messages": 1, "published_per_minute": 1}]
    assert told["subscriptions"][0]["backlog"] == {"scheduled": 0, "ready": 1, "claimed": 0}
    assert told["dead_letters"] == {}
