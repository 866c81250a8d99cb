"""A topic that stores nothing hands its messages on after the commit, at most once."""

from base64 import b64decode
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
    NotPersistentError,
    PayloadInvalidError,
    SchemaMismatchError,
)
from tests.engine.make import make_subscription, make_topic
from tests.engine.verbs import check
from tests.engine.working import USING, hearing, nothing_was_stored

pytestmark = pytest.mark.django_db(transaction=True)


def send(*messages: Outgoing[Any]) -> list[Any]:
    return list(publish("ticks", messages, using=USING))


@pytest.fixture(autouse=True)
def ticks() -> None:
    topic = make_topic("ticks", type="topic", persistent=False, compression_threshold=1)
    make_subscription(topic, "handler", ["eu.*"], transport="handler")
    make_subscription(topic, "us", ["us.*"], transport="handler")


def test_a_message_goes_with_all_it_has_to_the_handlers_it_is_routed_to() -> None:
    body = b'{"n":  1.10, "text": "' + b"a" * 500 + b'"}'
    options = {"headers": {"n": 1}, "priority": 3, "correlation_id": "c", "reply_to": "answers"}
    with hearing(signals.published_live) as heard:
        [receipt] = send(Outgoing(msgspec.Raw(body), routing_key="eu.paid", **options))
    [event] = heard
    [message] = event["messages"]
    assert (event["topic"], event["using"]) == ("ticks", USING)
    assert b64decode(message.pop("body")) == body
    assert message.pop("published_at").endswith("+00:00")
    assert message == {
        "id": str(receipt.message_id),
        "topic": "ticks",
        "subscriptions": ["handler"],
        "content_type": "application/json",
        "routing_key": "eu.paid",
        "headers": '{"n":1}',
        "priority": 3,
        "correlation_id": "c",
        "reply_to": "answers",
    }
    assert (receipt.deliveries, receipt.duplicate) == (1, False)
    assert nothing_was_stored()


def test_it_goes_after_the_commit_in_one_event_a_batch() -> None:
    with hearing(signals.published_live) as heard:
        with transaction.atomic():
            receipts = send(Outgoing(1, routing_key="eu.a"), Outgoing(2, routing_key="nobody"))
            assert heard == []
        assert [len(event["messages"]) for event in heard] == [2]
    assert [receipt.deliveries for receipt in receipts] == [1, 0]


def test_it_goes_nowhere_when_the_caller_rolls_back() -> None:
    with hearing(signals.published_live) as heard, transaction.atomic():
        send(Outgoing(1, routing_key="eu.a"))
        transaction.set_rollback(True)
    assert heard == []


@pytest.mark.parametrize(
    "options",
    [{"delay": timedelta(seconds=1)}, {"idempotency_key": "k"}, {"ordering_key": "k"}],
    ids=["delay", "idempotency_key", "ordering_key"],
)
def test_what_needs_storage_is_refused_by_its_name(options: dict[str, Any]) -> None:
    message = Outgoing(1, **options)
    with hearing(signals.published_live) as heard, pytest.raises(NotPersistentError) as refused:
        send(Outgoing(1), message)
    assert heard == []
    assert (refused.value.topic, refused.value.option) == ("ticks", next(iter(options)))
    with pytest.raises(NotPersistentError):
        check("ticks", message, using=USING)


@pytest.mark.parametrize(
    ("payload", "error"),
    [(object(), PayloadInvalidError), ("a" * 60, MessageTooLargeError), ([], SchemaMismatchError)],
)
def test_what_any_topic_refuses_is_refused_here(payload: Any, error: type[BrokerError]) -> None:
    make_topic("strict", persistent=False, max_message_size=50, schema={"type": ["string", "number"]})
    with hearing(signals.published_live) as heard, pytest.raises(error):
        publish("strict", [Outgoing(1), Outgoing(payload)], using=USING)
    assert heard == []
