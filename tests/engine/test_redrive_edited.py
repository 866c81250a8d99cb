from datetime import timedelta
from typing import Any

import msgspec
import pytest

from datapunk_broker.engine.letters import Chosen
from datapunk_broker.engine.redrive import Redriven, redrive
from datapunk_broker.exceptions import SchemaMismatchError
from datapunk_broker.models import DeadLetter, Delivery, Message, SettledDelivery, Subscription, Topic
from datapunk_broker.states import Settled
from tests.engine.make import (
    balanced,
    died,
    ended,
    make_subscription,
    make_topic,
    published,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def topic() -> Topic:
    return make_topic()


@pytest.fixture
def billing(topic: Topic) -> Subscription:
    return make_subscription(topic)


def redriven(dead_letters: Chosen, **options: Any) -> Redriven:
    return redrive(dead_letters, using="default", **options)


def test_an_edited_redrive_publishes_a_new_message_to_that_subscription_alone(topic: Topic) -> None:
    billing, other = make_subscription(topic), make_subscription(topic, "other")
    [dead] = published(
        topic,
        {"amount": "12"},
        routing_key="eu.paid",
        headers={"tier": "gold"},
        priority=4,
        ordering_key="k",
        idempotency_key="once",
        ttl=timedelta(hours=1),
        correlation_id="c-1",
        reply_to="answers",
    )
    died(billing, [dead])
    ended(other, [dead])
    done = redriven({}, payload={"amount": 12})
    [new_id] = done.message_ids
    new = Message.objects.get(pk=new_id)
    assert done == Redriven(1, (new.pk,), ())
    assert msgspec.json.decode(bytes(new.body)) == {"amount": 12}
    for field in ("topic_id", "routing_key", "headers", "priority", "ordering_key", "correlation_id", "reply_to"):
        assert getattr(new, field) == getattr(dead, field), field
    assert (new.redriven_from, new.idempotency_key, new.expires_at) == (dead.pk, None, None)
    assert new.routed_to == [billing.pk]
    assert Delivery.objects.get().message_id == new.pk
    assert DeadLetter.objects.get().redriven_at is not None
    assert SettledDelivery.objects.get(message=dead, subscription=billing).outcome == Settled.DEAD
    assert balanced()


def test_a_payload_of_none_is_a_payload(topic: Topic, billing: Subscription) -> None:
    died(billing, published(topic, {"broken": True}))
    [new] = redriven({}, payload=None).message_ids
    assert bytes(Message.objects.get(pk=new).body) == b"null"


def test_an_edit_that_the_topic_refuses_leaves_everything_as_it_was(billing: Subscription, topic: Topic) -> None:
    died(billing, published(topic, {}, {}))
    Topic.objects.update(schema={"type": "object"})
    with pytest.raises(SchemaMismatchError):
        redriven({}, payload=[])
    assert Message.objects.count() == 2
    assert DeadLetter.objects.open().count() == 2


def test_an_edited_redrive_with_a_rate_is_spread_too(topic: Topic, billing: Subscription) -> None:
    died(billing, published(topic, 1, 2))
    redriven({}, payload={}, rate=0.01)
    assert list(Delivery.objects.order_by("message_id").values_list("state", flat=True)) == ["ready", "scheduled"]


def test_a_payload_that_one_topic_refuses_is_refused_before_any_is_redriven(
    topic: Topic, billing: Subscription
) -> None:
    strict = make_topic("strict", schema={"type": "integer"})
    fussy = make_subscription(strict, "fussy")
    for one, subscription in ((topic, billing), (strict, fussy)):
        died(subscription, published(one, 1))

    with pytest.raises(SchemaMismatchError):
        redriven({}, payload="text")

    assert DeadLetter.objects.open().count() == 2
    assert redriven({"topic": topic.name}, payload="text").count == 1
