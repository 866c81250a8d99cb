"""Dead letters, their topics, and what is counted of those that nobody acked."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from datapunk_broker import signals
from datapunk_broker.engine.redrive import redrive
from datapunk_broker.exceptions import Reject
from datapunk_broker.models import DeadLetter, Delivery, Message, SettledDelivery, Subscription, Topic
from datapunk_broker.payload import decompress
from datapunk_broker.states import Encoding, Settled
from tests.engine.make import make_subscription, make_topic, published
from tests.engine.working import (
    USING,
    claimed,
    counted,
    failed,
    hearing,
    outcomes,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def topic() -> Topic:
    return make_topic()


@pytest.fixture
def billing(topic: Topic) -> Subscription:
    return make_subscription(topic, max_attempts=1)


def kill(subscription: Subscription, error: Exception | None = None) -> None:
    assert failed(claimed(subscription), error or Reject("no"), subscription)


def copies(topic: str = "graves") -> list[Message]:
    return list(Message.objects.filter(topic__name=topic).order_by("id"))


def body_of(message: Message) -> bytes:
    return decompress(bytes(message.body), Encoding(message.encoding), limit=10**6)


def test_deaths_are_counted_and_kept_in_the_history(topic: Topic, billing: Subscription) -> None:
    one, two = published(topic, 1, 2)
    kill(billing)
    assert outcomes() == [(one.pk, "dead", 1), (two.pk, "dead", 1)]
    assert counted() == [(billing.pk, "dead", 2)]


def test_a_second_death_opens_the_same_dead_letter_again(topic: Topic, billing: Subscription) -> None:
    published(topic, 1)
    kill(billing, Reject("first"))
    first = DeadLetter.objects.get()
    redrive({}, using=USING)
    assert not DeadLetter.objects.open().exists()
    kill(billing, ValueError("second"))
    again = DeadLetter.objects.open().get()
    assert (again.pk, again.redrives, again.attempts) == (first.pk, 1, 1)
    assert (again.error_message, again.error_class) == ("second", "ValueError")
    assert again.first_failed_at == first.first_failed_at
    assert again.dead_at > first.dead_at
    assert [outcome for _, outcome, _ in outcomes()] == ["dead"]


def test_a_settlement_that_is_there_already_is_replaced(topic: Topic, billing: Subscription) -> None:
    [message] = published(topic, 1)
    about = {"message_id": message.pk, "subscription_id": billing.pk, "attempts": 7, "latency": 1.0}
    SettledDelivery.objects.create(**about, outcome="acked", settled_at=Now())
    kill(billing)
    assert outcomes() == [(message.pk, "dead", 1)]


@pytest.mark.django_db(transaction=True)
def test_without_dead_letters_a_death_is_counted_all_the_same(
    topic: Topic, billing: Subscription, settings: Any
) -> None:
    settings.DATAPUNK_BROKER = {"ENABLE_DLQ": False}
    [message] = published(topic, 1)
    with hearing(signals.dead_lettered) as letters, hearing(signals.settled) as settled:
        kill(billing)
    assert not DeadLetter.objects.exists()
    assert outcomes() == [(message.pk, "dead", 1)]
    assert letters == []
    assert [(event["outcome"], event["count"]) for event in settled] == [(Settled.DEAD, 1)]


def test_a_topic_without_history_keeps_its_dead_letters(topic: Topic, billing: Subscription) -> None:
    Topic.objects.update(history=False)
    published(topic, 1)
    kill(billing)
    assert DeadLetter.objects.count() == 1
    assert outcomes() == []


def test_a_dead_letter_topic_gets_a_copy_with_where_it_came_from(topic: Topic, billing: Subscription) -> None:
    make_topic("graves")
    Topic.objects.filter(pk=topic.pk).update(dead_letter_topic="graves")
    options: dict[str, Any] = {
        "routing_key": "eu",
        "headers": {"tier": "gold"},
        "priority": 4,
        "ordering_key": "k",
        "correlation_id": "c",
    }
    [message] = published(topic, {"n": "a" * 3000}, **options, idempotency_key="once", ttl=timedelta(hours=1))
    kill(billing)
    [copy] = copies()
    assert body_of(copy) == body_of(message)
    for name in ("routing_key", "priority", "ordering_key", "correlation_id", "content_type"):
        assert getattr(copy, name) == getattr(message, name), name
    assert (copy.idempotency_key, copy.expires_at) == (None, None)
    assert copy.headers == {
        "tier": "gold",
        "datapunk-dead-path": ["orders"],
        "datapunk-dead-topic": "orders",
        "datapunk-dead-subscription": "billing",
        "datapunk-dead-reason": "rejected",
        "datapunk-dead-message": str(message.pk),
    }


def test_topics_that_are_each_others_dead_letter_topic_do_not_hand_a_message_round(
    topic: Topic, billing: Subscription
) -> None:
    graves = make_topic("graves")
    digger = make_subscription(graves, "digger", transport="pull")
    Topic.objects.filter(pk=topic.pk).update(dead_letter_topic="graves")
    Topic.objects.filter(pk=graves.pk).update(dead_letter_topic=topic.name)
    published(topic, 1)
    kill(billing)
    kill(digger)
    assert DeadLetter.objects.open().count() == 2
    assert Message.objects.filter(topic=topic.pk).count() == Message.objects.filter(topic=graves.pk).count() == 1


def test_a_copy_of_what_is_not_json_has_its_bytes(topic: Topic, billing: Subscription) -> None:
    make_topic("graves")
    Topic.objects.filter(pk=topic.pk).update(dead_letter_topic="graves")
    published(topic, b"\0\xff", content_type="image/png")
    kill(billing)
    assert [(body_of(copy), copy.content_type) for copy in copies()] == [(b"\0\xff", "image/png")]


@pytest.mark.django_db(transaction=True)
def test_a_copy_that_its_topic_refuses_keeps_neither_the_letter_nor_the_other_copies(
    topic: Topic, billing: Subscription
) -> None:
    make_topic("graves", max_message_size=10)
    Topic.objects.filter(pk=topic.pk).update(dead_letter_topic="graves")
    published(topic, "small", "much too large", "tiny")
    with hearing(signals.publish_refused) as heard:
        kill(billing)
    assert [body_of(copy) for copy in copies()] == [b'"small"', b'"tiny"']
    assert DeadLetter.objects.count() == 3
    assert heard == [{"topic": "graves", "code": "message_too_large"}]


@pytest.mark.parametrize("name", ["absent", "graves"])
def test_a_dead_letter_topic_that_takes_nothing_keeps_nobody_from_dying(
    topic: Topic, billing: Subscription, name: str
) -> None:
    make_topic("graves", persistent=False)
    Topic.objects.filter(pk=topic.pk).update(dead_letter_topic=name)
    published(topic, 1, ordering_key="needs storage")
    kill(billing)
    assert DeadLetter.objects.count() == 1
    assert not Delivery.objects.exists()
