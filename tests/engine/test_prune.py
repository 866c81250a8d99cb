from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from datapunk_broker.engine.prune import Pruned, prune
from datapunk_broker.engine.published import count_published
from datapunk_broker.models import (
    Attempt,
    DeadLetter,
    Delivery,
    Message,
    SettledDelivery,
    StreamEntry,
    Subscription,
    Topic,
)
from datapunk_broker.states import DeliveryState
from tests.engine.make import (
    aged,
    appended,
    balanced,
    claimed,
    delete_topic,
    died,
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


def pruned(**options: Any) -> Pruned:
    return prune(using="default", **options)


def gone(**counts: int) -> Pruned:
    return Pruned(**{**dict.fromkeys(Pruned.__slots__, 0), **counts})


def test_a_settled_message_goes_after_its_retention_with_its_history(topic: Topic, billing: Subscription) -> None:
    old, recent = published(topic, "old", "recent")
    ended(billing, [old, recent])
    died_and_redriven = published(topic, "redriven")
    died(billing, died_and_redriven, redriven_at=Now())
    aged([old, *died_and_redriven], 25 * HOUR)
    assert pruned() == gone(messages=2, dead_letters=1, attempts=1)
    assert Message.objects.get().pk == recent.pk
    assert SettledDelivery.objects.get().message_id == recent.pk
    assert not Attempt.objects.exists()
    assert not DeadLetter.objects.exists()
    assert pruned() == gone()


def test_a_message_that_nobody_was_bound_to_goes_too(topic: Topic) -> None:
    aged(published(topic, 1), 25 * HOUR)
    assert pruned() == gone(messages=1)


def test_a_message_with_a_live_delivery_stays(topic: Topic, billing: Subscription) -> None:
    other = make_subscription(topic, "other")
    waiting, held = aged(published(topic, 1, 2), 999 * HOUR)
    ended(other, [waiting, held])
    claimed(billing, [held])
    assert pruned() == gone()
    assert balanced()


def test_a_message_with_an_open_dead_letter_stays_until_that_goes(topic: Topic, billing: Subscription) -> None:
    [message] = published(topic, 1)
    [letter] = died(billing, [message])
    aged([message], 100 * HOUR)
    assert pruned() == gone()
    DeadLetter.objects.filter(pk=letter.pk).update(dead_at=timezone.now() - 169 * HOUR)
    assert pruned() == gone(messages=1, dead_letters=1, attempts=1)


@override_settings(DATAPUNK_BROKER={"RETENTION_HOURS": 1000, "DEAD_LETTER_RETENTION_HOURS": 1})
def test_an_old_dead_letter_goes_though_its_message_stays(topic: Topic, billing: Subscription) -> None:
    messages = published(topic, 1, 2, 3)
    old, _, redriven = died(billing, messages)
    DeadLetter.objects.filter(pk__in=[old.pk, redriven.pk]).update(dead_at=timezone.now() - 2 * HOUR)
    DeadLetter.objects.filter(pk=redriven.pk).update(redriven_at=Now())
    assert pruned() == gone(dead_letters=1)
    assert not DeadLetter.objects.filter(pk=old.pk).exists()
    assert SettledDelivery.objects.count() == 3


def test_a_topics_own_retention_goes_before_the_settings(topic: Topic) -> None:
    brief, long = make_topic("brief", retention_hours=0.5), make_topic("long", retention_hours=48)
    for each in (topic, brief, long):
        aged(published(each, 1), 2 * HOUR)
    assert pruned().messages == 1
    with override_settings(DATAPUNK_BROKER={"RETENTION_HOURS": 1}):
        assert pruned().messages == 1
    assert Message.objects.get().topic_id == long.pk


def test_an_idempotency_key_is_free_again_once_its_message_is_pruned(topic: Topic) -> None:
    [first] = published(topic, 1, idempotency_key="once")
    assert published(topic, 2, idempotency_key="once")[0].pk == first.pk
    aged([first], 25 * HOUR)
    pruned()
    assert published(topic, 3, idempotency_key="once")[0].pk != first.pk


def test_a_message_in_the_stream_stays_as_long_as_its_entry() -> None:
    topic = make_topic(stream=True)
    messages = published(topic, *range(3))
    appended(messages)
    aged(messages, 25 * HOUR)
    StreamEntry.objects.filter(position__gt=1).update(appended_at=timezone.now())
    assert pruned() == gone(messages=1, stream_entries=1)
    assert list(StreamEntry.objects.values_list("position", flat=True)) == [2, 3]
    assert Message.objects.count() == 2


def test_a_message_that_the_stream_is_still_owed_stays() -> None:
    aged(published(make_topic(stream=True), 1), 25 * HOUR)
    assert pruned() == gone()


def test_a_stream_loses_a_prefix_and_never_gets_a_gap() -> None:
    topic = make_topic(stream=True)
    messages = published(topic, *range(5))
    appended(messages)
    StreamEntry.objects.filter(position__in=[1, 3]).update(appended_at=timezone.now() - 25 * HOUR)
    assert pruned() == gone(stream_entries=3)
    assert list(StreamEntry.objects.values_list("position", flat=True)) == [4, 5]


@pytest.mark.parametrize("batch", [1, 2, 7, 1000])
def test_batches_of_any_size_remove_the_same(batch: int) -> None:
    topic = make_topic(stream=True)
    billing = make_subscription(topic)
    messages = published(topic, *range(7))
    appended(messages)
    ended(billing, messages[:3])
    died(billing, messages[3:5])
    ended(billing, messages[5:])
    aged(messages, 200 * HOUR)
    published(topic, 8)
    seen: list[int] = []
    assert pruned(batch=batch, progress=seen.append) == gone(messages=7, dead_letters=2, stream_entries=7, attempts=2)
    assert seen == sorted(seen)
    assert seen[-1] == 18
    assert Message.objects.count() == 1


@pytest.mark.parametrize("count", [1, 30])
def test_a_batch_takes_twenty_four_statements_whatever_its_size(
    topic: Topic, billing: Subscription, count: int
) -> None:
    messages = published(topic, *range(count))
    ended(billing, messages)
    aged(messages, 25 * HOUR)
    count_published(using="default")
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        assert pruned().messages == count
    kept_apart = ("SAVEPOINT", "advisory")  # a lock is a statement on PostgreSQL alone
    statements = [q["sql"] for q in queries if not any(word in q["sql"] for word in kept_apart)]
    assert len(statements) == 24, statements


def test_a_deleted_topics_messages_go_at_once_with_all_that_hangs_on_them() -> None:
    topic = make_topic(stream=True)
    billing = make_subscription(topic)
    messages = published(topic, *range(4))
    appended(messages[:2])
    died(billing, messages[:1])
    claimed(billing, messages[1:2])
    assert Delivery.objects.filter(state=DeliveryState.CLAIMED).count() == 1
    kept = published(make_topic("kept"), 1)
    delete_topic(topic)
    assert pruned() == gone(messages=4, dead_letters=1, stream_entries=2, attempts=1)
    assert list(Message.objects.values_list("pk", flat=True)) == [m.pk for m in kept]
    assert not Delivery.objects.exists()


def test_it_never_scans_the_messages_that_are_kept(topic: Topic) -> None:
    """Kept: those within their retention, and another topic's that are older but kept for longer."""
    start_anew()
    archive = make_topic("archive", retention_hours=9999)
    aged(published(topic, "old"), 25 * HOUR)
    [recent], [archived] = published(topic, "recent"), aged(published(archive, "archived"), 30 * HOUR)
    Message.objects.bulk_create([copy_of(m) for m in [recent, archived] * 2000], batch_size=500)
    count_published(using="default")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        with CaptureQueriesContext(connection) as queries:
            assert pruned().messages == 1
        about_messages = [q["sql"] for q in queries if 'FROM "datapunk_broker_message"' in q["sql"]]
        plans = [plan_of(statement) for statement in about_messages]
    [window] = [plan for sql, plan in zip(about_messages, plans, strict=True) if f'"topic_id" = {topic.pk} ' in sql]
    assert "broker_message_topic" in window
    assert not [plan for plan in plans if SCAN[connection.vendor] in plan]


def start_anew() -> None:
    """Empty the table's file of what other tests left in it: a plan goes by its pages, too."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE datapunk_broker_message")


SCAN = {"postgresql": "Seq Scan on datapunk_broker_message", "sqlite": "SCAN datapunk_broker_message"}


def plan_of(statement: str) -> str:
    explain = {"postgresql": "EXPLAIN", "sqlite": "EXPLAIN QUERY PLAN"}[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(f"{explain} {statement}")
        return str(cursor.fetchall())


def copy_of(message: Message) -> Message:
    fields = {field.attname: getattr(message, field.attname) for field in Message._meta.concrete_fields}
    time, unique = message.pk.int >> 80 << 80, uuid4().int & (1 << 80) - 1
    return Message(**{**fields, "id": UUID(int=time | unique)})
