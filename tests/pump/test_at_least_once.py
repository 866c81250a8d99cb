"""At least once: lease, run, ack; what fails is tried again, and what cannot be handled dies."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test.utils import CaptureQueriesContext

from datapunk_broker import broker
from datapunk_broker.envelope import Received
from datapunk_broker.pump import ledger
from tests.pump.conftest import Subscribe
from tests.pump.make import (
    acked,
    attempts,
    dead_letters,
    drain,
    ended,
    make_due,
    owed,
    publish,
    states,
    take_away,
)

pytestmark = pytest.mark.django_db


@dataclass
class Order:
    id: int


def test_a_handler_gets_each_message_once(subscribe: Subscribe) -> None:
    got: list[Any] = []
    subscribe(lambda message: got.append(message.payload))
    published = publish({"id": 1}, {"id": 2})

    assert drain() == 2
    assert got == [{"id": 1}, {"id": 2}]
    assert acked() == set(published)
    assert owed() == []
    assert drain() == 0


def test_a_handler_gets_all_that_was_published_with_its_message(subscribe: Subscribe) -> None:
    got: list[Received[Any]] = []
    subscribe(got.append)
    about: dict[str, Any] = {
        "routing_key": "eu.paid",
        "headers": {"tier": "gold"},
        "priority": 9,
        "correlation_id": "c-1",
    }
    [published] = publish({"id": 7}, ordering_key="customer-7", **about)

    drain()
    [message] = got
    assert (message.id, message.topic, message.subscription) == (published, "orders", "billing")
    assert (message.payload, message.body, message.attempt) == ({"id": 7}, b'{"id":7}', 1)
    assert {name: getattr(message, name) for name in about} == about
    assert message.ordering_key == "customer-7"


def test_an_async_handler_gets_many_at_once(subscribe: Subscribe) -> None:
    most = under_way = 0

    async def bill(message: Received[Any]) -> None:
        nonlocal most, under_way
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1

    subscribe(bill)
    publish(*range(4))

    assert drain() == 4
    assert most == 4
    assert ended() == ["acked"] * 4


def test_the_payload_is_of_the_type_that_the_handler_names(subscribe: Subscribe) -> None:
    got: list[Order] = []

    def bill(message: Received[Order]) -> None:
        got.append(message.payload)

    subscribe(bill)
    publish({"id": 7})
    drain()
    assert got == [Order(7)]


@pytest.mark.parametrize("kind", ["individual", "batch"])
def test_a_payload_that_is_not_of_the_type_dies_without_a_call(subscribe: Subscribe, kind: str) -> None:
    got: list[int] = []

    def bill(message: Received[Order]) -> None:
        got.append(message.payload.id)

    def bill_many(messages: list[Received[Order]]) -> None:
        got.extend(message.payload.id for message in messages)

    subscribe(bill_many if kind == "batch" else bill, max_attempts=5)
    publish({"id": 1}, {"id": "one"}, {"id": 2})

    assert drain() == 3
    assert got == [1, 2]
    [letter] = dead_letters()
    assert (letter.reason, letter.attempts) == ("validation_error", 1)
    assert sorted(ended()) == ["acked", "acked", "dead"]


def test_a_failure_is_tried_again_when_its_time_has_come(subscribe: Subscribe) -> None:
    seen: list[int] = []

    def bill(message: Received[Any]) -> None:
        seen.append(message.attempt)
        if message.attempt < 3:
            raise OSError("no answer")

    subscribe(bill, max_attempts=3, retry_delay=5)
    publish(1)

    drain()
    [delivery] = owed()
    assert (delivery.state, delivery.attempt, delivery.claims) == ("scheduled", 1, 1)
    assert delivery.available_at - delivery.published_at > timedelta(seconds=4.9)
    assert drain() == 0

    for _ in range(2):
        make_due()
        drain()
    assert seen == [1, 2, 3]
    assert ended() == ["acked"]
    assert [(a.attempt, a.reason) for a in attempts()] == [(1, "dependency_error"), (2, "dependency_error")]


def test_after_the_last_attempt_it_is_a_dead_letter_that_says_what_happened(subscribe: Subscribe) -> None:
    def bill(message: Received[Any]) -> None:
        raise ValueError(f"no customer {message.payload}")

    subscribe(bill, max_attempts=2, retry_delay=0)
    publish(7)

    assert drain() == 2
    [letter] = dead_letters()
    assert (letter.reason, letter.attempts) == ("attempts_exhausted", 2)
    assert (letter.error_class, letter.error_message) == ("ValueError", "no customer 7")
    assert "in bill" in letter.traceback
    assert ended() == ["dead"]


def test_reject_dead_letters_at_once(subscribe: Subscribe) -> None:
    def bill(message: Received[Any]) -> None:
        raise broker.Reject("not ours")

    subscribe(bill, max_attempts=9)
    publish(1)
    drain()
    [letter] = dead_letters()
    assert (letter.reason, letter.error_message, letter.attempts) == ("rejected", "not ours", 1)


def test_retry_after_waits_that_long_and_counts_as_an_attempt(subscribe: Subscribe) -> None:
    def bill(message: Received[Any]) -> None:
        raise broker.RetryAfter(60)

    subscribe(bill, max_attempts=2, retry_delay=0)
    publish(1)

    drain()
    [delivery] = owed()
    assert 59 < (delivery.available_at - delivery.published_at).total_seconds() < 70
    make_due()
    drain()
    assert ended() == ["dead"]


def test_one_failure_leaves_the_others_of_its_claim_alone(subscribe: Subscribe) -> None:
    def bill(message: Received[Any]) -> None:
        if message.payload == 2:
            raise ValueError

    subscribe(bill)
    published = publish(1, 2, 3)
    drain()
    assert acked() == {published[0], published[2]}
    assert states() == ["scheduled"]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_call_that_was_cancelled_from_within_has_failed(subscribe: Subscribe, kind: str) -> None:
    async def cancelled(message: Received[Any]) -> None:
        raise asyncio.CancelledError

    def bill(message: Received[Any]) -> None:
        raise asyncio.CancelledError

    subscribe(cancelled if kind == "async" else bill, max_attempts=1)
    publish(1, 2)
    assert drain() == 2
    assert ended() == ["dead", "dead"]
    assert {letter.error_class for letter in dead_letters()} == {"RuntimeError"}


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_acks_are_written_while_other_messages_are_handled(
    subscribe: Subscribe, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(ledger, "FLUSH_EVERY", 0.05)
    seen: list[int] = []
    pause = threading.Event()

    def bill(message: Received[Any]) -> None:
        seen.append(len(ended()))
        pause.wait(0.03)

    async def bill_at_once(message: Received[Any]) -> None:
        await asyncio.sleep(0.15 * message.payload)
        seen.append(len(await sync_to_async(ended)()))

    subscribe(bill_at_once if kind == "async" else bill)
    publish(0, 1, 2, 3)
    drain()
    assert len(seen) == 4
    assert seen[0] == 0
    assert 0 < seen[-1] < 4
    assert len(ended()) == 4


def test_a_quick_claim_is_settled_by_one_statement_whatever_its_size(subscribe: Subscribe) -> None:
    subscribe(lambda message: None)
    counts = set()
    for size in (1, 4):
        publish(*range(size))
        counts.add(statements_of(drain))
    assert len(counts) == 1


def test_a_claim_that_was_lost_meanwhile_is_not_settled(subscribe: Subscribe, caplog: pytest.LogCaptureFixture) -> None:
    subscribe(lambda message: take_away())
    publish(1)
    assert drain() == 1
    assert ended() == []
    assert states() == ["claimed"]
    [line] = [record for record in caplog.records if "Claims were lost" in record.message]
    assert line.broker["count"] == 1  # type: ignore[attr-defined]


def test_what_a_handler_returns_costs_nothing_unless_a_reply_was_asked_for(subscribe: Subscribe) -> None:
    answers: list[Callable[[Any], Any]] = [lambda message: None, lambda message: object()]
    costs = []
    for number, answer in enumerate(answers):
        subscribe(answer, f"s{number}", bindings=[{"routing_key": f"k{number}"}])
        publish(*range(4), routing_key=f"k{number}")
        costs.append(statements_of(drain))
    assert costs[0] == costs[1]


def statements_of(act: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as captured:
        act()
    return len(captured)
