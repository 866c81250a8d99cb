"""The public test helpers: deliver in this process, and look at what was published."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from datapunk_broker import broker, testing
from datapunk_broker.conf import TopicConfig
from datapunk_broker.models import DeadLetter
from datapunk_broker.registry import registry
from datapunk_broker.states import TopicType
from datapunk_broker.testing import Drained, assert_published, drain, published, run_due

pytestmark = pytest.mark.django_db

Message = broker.Received[Any]


@dataclass
class Order:
    id: int


@pytest.fixture
def orders() -> Iterator[str]:
    known = set(registry.names())
    broker.create_topic(TopicConfig("orders", type=TopicType.TOPIC))
    yield "orders"
    for name in set(registry.names()) - known:
        registry.remove(name)


def subscribe(function: Callable[[Message], object], routing_key: str = "#", **options: Any) -> None:
    broker.subscribe("orders", function, routing_key.strip("#") or "all", routing_key=routing_key, **options)


def test_drain_delivers_what_is_published_and_what_handlers_publish(orders: str) -> None:
    seen: list[object] = []
    subscribe(lambda message: broker.publish(orders, {"step": 2}, routing_key="second"), "first")
    subscribe(lambda message: seen.append(message.payload), "second")
    broker.publish(orders, {"step": 1}, routing_key="first")
    assert drain() == Drained(handled=2, streamed=2)
    assert seen == [{"step": 2}]
    assert drain() == Drained()


def test_drain_delivers_more_than_a_claim_holds(orders: str) -> None:
    subscribe(lambda message: None)
    broker.publish_many(orders, [broker.Outgoing(number) for number in range(1_500)])
    assert drain().handled == 1_500


def test_handlers_that_publish_for_one_another_without_end_are_stopped(
    orders: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(testing, "ROUNDS", 20)
    subscribe(lambda message: broker.publish(orders, None))
    broker.publish(orders, None)
    with pytest.raises(AssertionError, match="without end"):
        drain()


def test_drain_waits_for_no_time_and_run_due_lets_it_pass(orders: str) -> None:
    attempts: list[int] = []

    def fail(message: Message) -> None:
        attempts.append(message.attempt)
        raise ValueError("no customer")

    subscribe(fail, "fails", max_attempts=3, retry_delay=60)
    seen: list[str] = []
    subscribe(lambda message: seen.append(message.payload), "late")
    broker.publish(orders, 1, routing_key="fails")
    broker.publish(orders, "soon", routing_key="late", delay=timedelta(minutes=5))
    broker.publish(orders, "much later", routing_key="late", delay=timedelta(days=5))

    assert drain().handled == 1
    assert run_due(within=timedelta(minutes=6)).handled == 3
    assert (attempts, seen) == ([1, 2, 3], ["soon"])
    assert DeadLetter.objects.get().error_message == "no customer"

    assert run_due().handled == 1
    assert seen == ["soon", "much later"]
    assert run_due() == Drained()


def test_a_paused_subscriptions_messages_are_left(orders: str) -> None:
    subscribe(lambda message: None)
    broker.pause("all")
    broker.publish(orders, 1, delay=timedelta(days=1))
    assert run_due().handled == 0


def test_what_was_published_is_shown_decoded_oldest_first(orders: str) -> None:
    broker.publish(orders, {"id": 1}, routing_key="a", headers={"tier": "gold"}, correlation_id="c", priority=3)
    broker.publish(orders, {"id": 2, "long": "x" * 5_000}, routing_key="b", reply_to="answers", ordering_key="k")
    broker.publish(orders, b"\x00", content_type="image/png")
    first, second, third = published(orders)
    assert (first.payload, first.routing_key, first.headers) == ({"id": 1}, "a", {"tier": "gold"})
    assert (first.correlation_id, first.priority) == ("c", 3)
    assert second.payload["long"] == "x" * 5_000
    assert (second.reply_to, second.ordering_key) == ("answers", "k")
    assert third.payload == b"\x00"


def test_assert_published_finds_one_by_payload_and_key_or_names_what_there_is(orders: str) -> None:
    broker.publish(orders, {"id": 1}, routing_key="a")
    assert assert_published(orders, {"id": 1}, routing_key="a").payload == {"id": 1}
    assert assert_published(orders, payload=Order(1)).routing_key == "a"
    assert assert_published(orders).routing_key == "a"
    with pytest.raises(AssertionError, match=r"payload=\{'id': 2\}; there is .*'id': 1"):
        assert_published(orders, {"id": 2})
    with pytest.raises(AssertionError, match="routing_key='b'"):
        assert_published(orders, routing_key="b")
    with pytest.raises(AssertionError, match="nothing was published to 'answers'"):
        assert_published("answers")


def test_none_is_a_payload_like_any_other(orders: str) -> None:
    broker.publish(orders, 1)
    with pytest.raises(AssertionError):
        assert_published(orders, None)
    broker.publish(orders, None)
    assert assert_published(orders, None).payload is None
