"""Batches: a handler that takes a list, and says which of its messages failed."""

from typing import Any

import pytest

from datapunk_broker import broker
from datapunk_broker.envelope import Received
from tests.pump.conftest import Subscribe
from tests.pump.make import acked, attempts, dead_letters, drain, ended, make_due, owed, publish, states

pytestmark = pytest.mark.django_db

Messages = list[Received[Any]]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_handler_of_lists_gets_up_to_batch_size_at_once(subscribe: Subscribe, kind: str) -> None:
    got: list[list[int]] = []

    def bill(messages: Messages) -> None:
        got.append([message.payload for message in messages])

    async def bill_later(messages: Messages) -> None:
        bill(messages)

    subscribe(bill if kind == "sync" else bill_later, batch_size=4)
    publish(*range(10))
    assert drain() == 10
    assert got == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert ended() == ["acked"] * 10


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_messages_that_the_handler_names_fail_and_the_others_are_acked(subscribe: Subscribe, kind: str) -> None:
    def bill(messages: Messages) -> None:
        raise broker.BatchFailures({m.ack_id: ValueError(m.payload) for m in messages if m.payload % 2})

    async def bill_later(messages: Messages) -> None:
        bill(messages)

    subscribe(bill if kind == "sync" else bill_later)
    published = publish(0, 1, 2, 3)
    drain()
    assert acked() == {published[0], published[2]}
    assert states() == ["scheduled", "scheduled"]
    assert [delivery.lapses for delivery in owed()] == [0, 0]
    assert [attempt.error_message for attempt in attempts()] == ["1", "3"]


def test_each_failure_in_a_batch_has_a_verdict_of_its_own(subscribe: Subscribe) -> None:
    def bill(messages: Messages) -> None:
        verdicts: list[Exception] = [broker.Reject("no"), broker.RetryAfter(60), ValueError("odd")]
        raise broker.BatchFailures({m.ack_id: verdict for m, verdict in zip(messages, verdicts, strict=False)})

    subscribe(bill, retry_delay=1)
    publish(*range(4))
    drain()
    assert sorted(ended()) == ["acked", "dead"]
    waits = [(delivery.available_at - delivery.published_at).total_seconds() for delivery in owed()]
    assert waits == [pytest.approx(60, abs=5), pytest.approx(1, abs=5)]


def test_a_batch_that_raises_charges_all_and_each_is_alone_the_next_time(subscribe: Subscribe) -> None:
    got: list[list[int]] = []

    def bill(messages: Messages) -> None:
        got.append([message.payload for message in messages])
        if 2 in got[-1]:
            raise ValueError("one of you")

    subscribe(bill, max_attempts=2, retry_delay=5)
    publish(1, 2, 3)
    drain()
    assert [(d.attempt, d.lapses) for d in owed()] == [(1, 1), (1, 1), (1, 1)]

    make_due()
    drain()
    assert got == [[1, 2, 3], [1], [2], [3]]
    assert sorted(ended()) == ["acked", "acked", "dead"]
    assert [letter.error_message for letter in dead_letters()] == ["one of you"]


def test_naming_what_is_not_in_the_batch_acks_nothing(subscribe: Subscribe) -> None:
    def bill(messages: Messages) -> None:
        raise broker.BatchFailures({str(messages[0].id): ValueError()})

    subscribe(bill, max_attempts=1)
    publish(1, 2)
    drain()
    assert ended() == ["dead", "dead"]
    assert "takes the ack ids of the batch" in dead_letters()[0].error_message


def test_a_failure_may_be_named_by_a_sentence(subscribe: Subscribe) -> None:
    def bill(messages: Messages) -> None:
        raise broker.BatchFailures(dict.fromkeys([m.ack_id for m in messages], "odd"))  # type: ignore[arg-type]

    subscribe(bill, max_attempts=1)
    publish(1)
    drain()
    assert [letter.error_message for letter in dead_letters()] == ["odd"]


def test_a_batch_waits_for_more_until_its_window_is_over(subscribe: Subscribe) -> None:
    got: list[int] = []
    subscribe(lambda messages: got.append(len(messages)), mode="batch", batch_size=3, batch_window=60)
    publish(1, 2)
    assert drain() == 0
    publish(3)
    assert drain() == 3
    assert got == [3]
