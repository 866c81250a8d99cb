"""Topics that store nothing: at most once, to whoever is there."""

from datetime import timedelta
from typing import Any

import pytest

from datapunk_broker import broker, signals
from datapunk_broker.conf import TopicConfig
from datapunk_broker.envelope import Received
from datapunk_broker.exceptions import NotPersistentError
from datapunk_broker.models import Delivery, Message
from datapunk_broker.pump import deliver_live
from datapunk_broker.states import TopicType
from tests.pump.conftest import Subscribe

pytestmark = pytest.mark.django_db


class Heard:
    def __init__(self) -> None:
        self.wires: list[dict[str, Any]] = []
        self.failures: list[dict[str, Any]] = []

    def live(self, messages: tuple[dict[str, Any], ...], **_: Any) -> None:
        self.wires.extend(messages)

    def failed(self, **about: Any) -> None:
        self.failures.append(about)

    def deliver(self) -> None:
        for wire in self.wires:
            deliver_live(wire)


@pytest.fixture
def heard(topic: str) -> Heard:
    broker.create_topic(TopicConfig("ticks", type=TopicType.TOPIC, persistent=False))
    broker.create_topic(TopicConfig("answers", stream=False))
    ears = Heard()
    signals.published_live.connect(ears.live)
    signals.attempt_failed.connect(ears.failed)
    return ears


def publish(*payloads: Any, capture: Any, **options: Any) -> list[broker.Receipt]:
    with capture(execute=True):
        receipts = broker.publish_many("ticks", [broker.Outgoing(payload, **options) for payload in payloads])
    return list(receipts)


def test_a_message_reaches_the_handlers_that_match_and_no_row_is_written(
    subscribe: Subscribe, heard: Heard, django_capture_on_commit_callbacks: Any
) -> None:
    got: list[Received[Any]] = []
    subscribe(got.append, topic="ticks", bindings=[{"routing_key": "eu.*"}])
    subscribe(got.append, "other", topic="ticks", bindings=[{"routing_key": "us.*"}])
    about = {"routing_key": "eu.bid", "headers": {"tier": "gold"}, "priority": 3, "correlation_id": "c"}
    [receipt] = publish({"bid": 1}, capture=django_capture_on_commit_callbacks, **about)
    heard.deliver()
    [message] = got
    assert (message.id, message.payload, message.body) == (receipt.message_id, {"bid": 1}, b'{"bid":1}')
    assert (message.subscription, message.attempt, receipt.deliveries) == ("billing", 1, 1)
    assert {name: getattr(message, name) for name in about} == about
    assert (Message.objects.count(), Delivery.objects.count()) == (0, 0)


def test_what_rolls_back_is_never_delivered(subscribe: Subscribe, heard: Heard) -> None:
    broker.publish("ticks", 1)  # the test's own transaction never commits
    assert heard.wires == []


@pytest.mark.parametrize("kind", ["sync", "async", "batch"])
def test_a_failure_is_told_once_and_does_not_come_again(
    subscribe: Subscribe, heard: Heard, kind: str, django_capture_on_commit_callbacks: Any
) -> None:
    got: list[Any] = []

    def bill(message: Any) -> None:
        got.append(message)
        raise ValueError

    async def bill_later(message: Received[Any]) -> None:
        bill(message)

    def bill_many(messages: list[Received[Any]]) -> None:
        bill(messages)

    handlers: dict[str, Any] = {"sync": bill, "async": bill_later, "batch": bill_many}
    subscribe(handlers[kind], topic="ticks")
    subscribe(lambda message: got.append("other"), "other", topic="ticks")
    publish(1, capture=django_capture_on_commit_callbacks)
    heard.deliver()
    assert len(got) == 2
    assert got[-1] == "other"
    [failure] = heard.failures
    assert (failure["subscription"], failure["attempt"], failure["retry_in"]) == ("billing", 1, None)


def test_a_payload_that_is_not_of_the_type_is_told_without_a_call(
    subscribe: Subscribe, heard: Heard, django_capture_on_commit_callbacks: Any
) -> None:
    def bill(message: Received[int]) -> None:
        raise AssertionError

    subscribe(bill, topic="ticks")
    publish("one", capture=django_capture_on_commit_callbacks)
    heard.deliver()
    assert [failure["reason"] for failure in heard.failures] == ["validation_error"]


@pytest.mark.parametrize("reply_to", ["answers", "nowhere"])
def test_what_the_handler_returns_is_published(
    subscribe: Subscribe, heard: Heard, reply_to: str, django_capture_on_commit_callbacks: Any
) -> None:
    subscribe(lambda message: "yes", topic="ticks")
    [receipt] = publish(1, capture=django_capture_on_commit_callbacks, reply_to=reply_to)
    heard.deliver()
    said = [(bytes(m.body), m.correlation_id) for m in Message.objects.all()]
    assert said == ([(b'"yes"', str(receipt.message_id))] if reply_to == "answers" else [])
    assert [f["error_class"] for f in heard.failures] == ([] if reply_to == "answers" else ["TopicNotFoundError"])


@pytest.mark.parametrize("option", [{"delay": timedelta(seconds=1)}, {"idempotency_key": "k"}, {"ordering_key": "k"}])
def test_an_option_that_needs_storage_is_refused_by_name(topic: str, heard: Heard, option: dict[str, Any]) -> None:
    with pytest.raises(NotPersistentError, match=next(iter(option))):
        broker.publish("ticks", 1, **option)


def test_a_paused_subscription_gets_nothing(
    subscribe: Subscribe, heard: Heard, django_capture_on_commit_callbacks: Any
) -> None:
    got: list[Any] = []
    subscribe(got.append, topic="ticks")
    broker.pause("billing")
    publish(1, capture=django_capture_on_commit_callbacks)
    heard.deliver()
    assert got == []
