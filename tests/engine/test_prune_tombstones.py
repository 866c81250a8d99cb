from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from datapunk_broker.engine.prune import prune
from datapunk_broker.models import Binding, Delivery, Message, StreamHead, Subscription, Topic, TrafficMinute
from datapunk_broker.states import TopicType
from tests.engine.make import aged, delete_subscription, delete_topic, ended, make_subscription, make_topic, published

pytestmark = pytest.mark.django_db

TWO_HOURS = timedelta(hours=2)


def buried_two_hours_ago() -> None:
    for model in (Subscription, Topic):
        model.objects.filter(deleted_at__isnull=False).update(deleted_at=F("deleted_at") - TWO_HOURS)


def minute(**about: int) -> None:
    TrafficMinute.objects.create(minute=timezone.now(), outcome="acked", count=1, **about)


def test_a_deleted_subscription_goes_with_its_bindings_and_its_traffic() -> None:
    topic = make_topic(type=TopicType.TOPIC)
    gone, kept = make_subscription(topic, "gone", ["a", "b"]), make_subscription(topic, "kept", ["a"])
    minute(subscription_id=gone.pk)
    minute(subscription_id=kept.pk)
    delete_subscription(gone)
    buried_two_hours_ago()
    pruned = prune(using="default")
    assert (pruned.tombstones, pruned.minutes) == (1, 1)
    assert Subscription.objects.get().pk == kept.pk
    assert Binding.objects.get().subscription_id == kept.pk
    assert TrafficMinute.objects.get().subscription_id == kept.pk


def test_a_deleted_subscription_stays_for_an_hour() -> None:
    delete_subscription(make_subscription(make_topic()))
    assert prune(using="default").tombstones == 0


def test_a_deleted_subscription_stays_while_a_kept_message_may_speak_of_it() -> None:
    topic = make_topic()
    billing = make_subscription(topic)
    messages = published(topic, 1)
    ended(billing, messages)
    messages = aged(messages, timedelta(hours=3))
    delete_subscription(billing)
    published(topic, 2)
    buried_two_hours_ago()
    assert prune(using="default").tombstones == 0
    aged(messages, timedelta(days=1))
    assert prune(using="default").tombstones == 1


def test_a_deleted_subscription_stays_while_a_delivery_of_it_is_not_purged() -> None:
    topic = make_topic()
    billing = make_subscription(topic)
    published(topic, 1)
    delete_subscription(billing)
    buried_two_hours_ago()
    assert prune(using="default").tombstones == 0


def test_a_deleted_topic_goes_after_its_messages_and_subscriptions() -> None:
    topic = make_topic(stream=True)
    make_subscription(topic)
    minute(topic_id=topic.pk)
    published(topic, 1, 2)
    delete_topic(topic)
    buried_two_hours_ago()
    pruned = prune(using="default")
    assert (pruned.messages, pruned.tombstones, pruned.minutes) == (2, 3, 1)
    assert not Topic.objects.exists()
    assert not Subscription.objects.exists()
    assert not StreamHead.objects.exists()


def test_a_deleted_topic_stays_for_an_hour() -> None:
    delete_topic(make_topic())
    assert prune(using="default").tombstones == 0
    assert Topic.objects.exists()


def test_a_batch_limits_how_many_tombstones_go_at_a_time() -> None:
    topic = make_topic()
    for number in range(3):
        delete_subscription(make_subscription(topic, f"s{number}"))
    buried_two_hours_ago()
    assert prune(using="default", batch=2).tombstones == 2
    assert prune(using="default", batch=2).tombstones == 1


def test_a_name_is_free_while_its_tombstone_stands() -> None:
    topic = make_topic()
    delete_topic(topic)
    make_topic(topic.name)
    buried_two_hours_ago()
    assert prune(using="default").tombstones == 1
    assert Topic.objects.get().pk != topic.pk


@pytest.mark.parametrize(
    "write", [lambda row: row.delete(), lambda row: Subscription.objects.filter(pk=row.pk).delete()]
)
def test_what_is_owed_to_a_subscription_that_is_no_more_holds_no_message(write: Callable[[Subscription], Any]) -> None:
    topic = make_topic()
    billing, gone = make_subscription(topic), make_subscription(topic, "gone")
    old, held, new = published(topic, 1, 2, 3)
    ended(billing, [old, new])
    aged([old, held], timedelta(days=2))
    lost = gone.pk
    write(gone)
    assert prune(using="default").messages == 1
    assert Delivery.objects.of(lost).get().message_id == new.pk
    assert Delivery.objects.of(billing.pk).count() == 1
    assert Message.objects.count() == 2
