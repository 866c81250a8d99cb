"""What cannot be published is refused before anything is written, and the caller's transaction goes on."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from django.db import transaction

from datapunk_broker import signals
from datapunk_broker.engine.publish import publish
from datapunk_broker.envelope import Outgoing
from datapunk_broker.exceptions import (
    BrokerError,
    MessageTooLargeError,
    PayloadInvalidError,
    QueueFullError,
    SchemaMismatchError,
    TopicNotFoundError,
)
from datapunk_broker.models import Message, Subscription, Topic
from tests.engine.make import make_subscription, make_topic
from tests.engine.verbs import check
from tests.engine.working import USING, hearing

pytestmark = pytest.mark.django_db

OPTIONS: dict[str, dict[str, Any]] = {
    "routing_key with NUL": {"routing_key": "eu\0paid"},
    "routing_key with a lone surrogate": {"routing_key": "eu.\ud800"},
    "routing_key of 256 bytes": {"routing_key": "\u00e9" * 128},
    "routing_key that is no text": {"routing_key": 7},
    "header name with NUL": {"headers": {"a\0": 1}},
    "header value with NUL": {"headers": {"a": ["\0"]}},
    "header value with a lone surrogate": {"headers": {"a": {"b": "\udfff"}}},
    "header name with a lone surrogate": {"headers": {"\ud800": 1}},
    "header that is NaN": {"headers": {"a": float("nan")}},
    "header that is no JSON": {"headers": {"a": object()}},
    "headers that are no object": {"headers": [1]},
    "ordering_key with NUL": {"ordering_key": "\0"},
    "ordering_key of 256 bytes": {"ordering_key": "k" * 256},
    "ordering_key with a lone surrogate": {"ordering_key": "\udc00"},
    "idempotency_key with NUL": {"idempotency_key": "a\0"},
    "idempotency_key that is empty": {"idempotency_key": ""},
    "idempotency_key that is no text": {"idempotency_key": 7},
    "correlation_id with NUL": {"correlation_id": "\0"},
    "correlation_id of 256 bytes": {"correlation_id": "c" * 256},
    "reply_to of 201 bytes": {"reply_to": "r" * 201},
    "content_type with NUL": {"payload": b"", "content_type": "\0"},
    "priority below 0": {"priority": -1},
    "priority above 9": {"priority": 10},
    "priority that is a truth": {"priority": True},
    "priority that is a fraction": {"priority": 1.0},
    "delay below 0": {"delay": timedelta(microseconds=-1)},
    "delay of more than ten years": {"delay": timedelta(days=3661)},
    "delay that is a number": {"delay": 5},
    "ttl below 0": {"ttl": timedelta(seconds=-1)},
    "ttl of more than ten years": {"ttl": timedelta.max},
    "payload that is NaN": {"payload": float("nan")},
    "payload that is no JSON": {"payload": object()},
    "payload with a lone surrogate": {"payload": "\ud800"},
    "payload of bytes": {"payload": b"{}"},
    "payload that is broken JSON": {"payload": msgspec.Raw(b'{"a":')},
    "payload that is no UTF-8": {"payload": msgspec.Raw(b'"\xff"')},
    "payload that nests without end": {"payload": msgspec.Raw(b"[" * 100_000 + b"]" * 100_000)},
    "text of another content type": {"payload": "text", "content_type": "text/plain"},
}


def send(*messages: Outgoing[Any], to: str = "orders") -> None:
    publish(to, messages, using=USING)


def goes_on_after(error: type[BrokerError], *messages: Outgoing[Any], to: str = "orders") -> BrokerError:
    """The refusal, of a caller that goes on in its transaction, which is committed with nothing of it."""
    make_topic("before")
    with transaction.atomic():
        Topic.objects.filter(name="before").update(max_subscribers=1)
        with pytest.raises(error) as refused:
            send(*messages, to=to)
        send(Outgoing("after"), to="before")
    assert [bytes(message.body) for message in Message.objects.all()] == [b'"after"']
    assert Topic.objects.get(name="before").max_subscribers == 1
    return refused.value


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_what_cannot_be_stored_is_refused_and_the_caller_goes_on(options: dict[str, Any]) -> None:
    make_subscription(make_topic())
    error = goes_on_after(PayloadInvalidError, Outgoing(1), Outgoing(**{"payload": 1, **options}))
    assert error.code == "payload_invalid"


def test_an_unknown_topic_is_refused_and_the_caller_goes_on() -> None:
    assert goes_on_after(TopicNotFoundError, Outgoing(1), to="absent").code == "topic_not_found"


def test_the_limit_is_on_the_bytes_published_not_on_those_stored() -> None:
    make_topic(max_message_size=2000)
    send(Outgoing("a" * 1998))
    Message.objects.all().delete()
    error = goes_on_after(MessageTooLargeError, Outgoing("a"), Outgoing("a" * 1999))
    assert isinstance(error, MessageTooLargeError)
    assert (error.topic, error.size, error.limit) == ("orders", 2001, 2000)


def test_a_limit_counts_bytes_not_characters() -> None:
    make_topic(max_message_size=6)
    send(Outgoing("\u00e9\u00e9"))
    with pytest.raises(MessageTooLargeError):
        send(Outgoing("\u00e9\u00e9\u00e9"))


def test_a_payload_that_does_not_fit_the_schema_is_refused_with_the_place() -> None:
    schema = {"type": "object", "properties": {"lines": {"items": {"type": "integer"}}}}
    make_subscription(make_topic(schema=schema))
    error = goes_on_after(SchemaMismatchError, Outgoing({"lines": [1]}), Outgoing({"lines": [1, "2"]}))
    assert isinstance(error, SchemaMismatchError)
    assert error.path == "/lines/1"


def test_a_full_queue_is_refused_with_whose_it_is_and_the_caller_goes_on() -> None:
    topic = make_topic(type="direct", max_queue_size=1)
    make_subscription(topic, "billing", over_limit=True)
    make_subscription(topic, "audit")
    error = goes_on_after(QueueFullError, Outgoing(1, routing_key="audit"), Outgoing(2, routing_key="billing"))
    assert isinstance(error, QueueFullError)
    assert error.subscriptions == ("billing",)


def test_a_full_queue_is_no_matter_for_messages_to_others() -> None:
    topic = make_topic(type="direct", max_queue_size=1)
    make_subscription(topic, "billing", over_limit=True)
    make_subscription(topic, "audit")
    send(Outgoing(1, routing_key="audit"))
    assert Message.objects.count() == 1


def test_a_message_sent_again_to_a_queue_that_filled_up_is_the_first_message() -> None:
    topic = make_topic(max_queue_size=1)
    billing = make_subscription(topic)
    [first] = publish("orders", [Outgoing(1, idempotency_key="k")], using=USING)
    Subscription.objects.filter(pk=billing.pk).update(over_limit=True)
    [again] = publish("orders", [Outgoing(1, idempotency_key="k")], using=USING)
    assert (again.message_id, again.duplicate) == (first.message_id, True)
    with pytest.raises(QueueFullError):
        send(Outgoing(1, idempotency_key="k"), Outgoing(2, idempotency_key="other"))


@pytest.mark.parametrize(("to", "said"), [("orders", "orders"), ("made up by a client", "unknown")])
def test_a_refusal_is_told_with_a_topic_that_exists(to: str, said: str) -> None:
    make_topic()
    with hearing(signals.publish_refused) as heard, pytest.raises(BrokerError) as refused:
        send(Outgoing(object()), to=to)
    assert heard == [{"topic": said, "code": refused.value.code}]


def test_a_check_refuses_what_publishing_would_and_writes_nothing() -> None:
    make_topic(max_message_size=3)
    check("orders", Outgoing(1), using=USING)
    with pytest.raises(MessageTooLargeError):
        check("orders", Outgoing("too large"), using=USING)
    with pytest.raises(TopicNotFoundError):
        check("absent", Outgoing(1), using=USING)
    assert not Message.objects.exists()


@pytest.mark.parametrize("kind", ["text", "text/plain\r\nx: y", "text/plain; x=é", "", "text/plain\n"])
def test_a_content_type_that_no_header_can_hold_is_refused(kind: str) -> None:
    make_topic()
    with pytest.raises(PayloadInvalidError, match="content_type"):
        publish("orders", [Outgoing(b"x", content_type=kind)], using="default")
