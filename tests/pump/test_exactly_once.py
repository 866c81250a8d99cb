"""Exactly once: what the handlers of a batch write and their acks are one transaction."""

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from datapunk_broker import broker
from datapunk_broker.conf import TopicConfig
from datapunk_broker.envelope import Received
from datapunk_broker.models import Message
from datapunk_broker.pump.deliver import deliver
from tests.engine.racing import Actors
from tests.pump.conftest import Subscribe
from tests.pump.make import (
    acked,
    attempts,
    claimed,
    dead_letters,
    drain,
    end_leases,
    ended,
    make_due,
    owed,
    publish,
    states,
    take_away,
)
from tests.shop.models import Effect

pytestmark = pytest.mark.django_db(transaction=True)

ONCE = {"delivery_mode": "exactly_once", "retry_delay": 0}
Messages = list[Received[Any]]


def effects() -> list[int]:
    return sorted(Effect.objects.values_list("value", flat=True))


def write(message: Received[Any]) -> None:
    Effect.objects.create(value=message.payload)


def write_but_fail_on(*odd: int) -> Callable[[Received[Any]], None]:
    def bill(message: Received[Any]) -> None:
        write(message)
        if message.payload in odd:
            raise ValueError(message.payload)

    return bill


def test_the_writes_and_the_ack_commit_together(subscribe: Subscribe) -> None:
    elsewhere = Actors()
    seen: list[tuple[list[int], int]] = []

    def bill(message: Received[Any]) -> None:
        write(message)
        seen.append(elsewhere.start(lambda: (effects(), len(owed()))).result(30))

    subscribe(bill, **ONCE)
    publish(1)
    drain()
    elsewhere.close()
    assert seen == [([], 1)]
    assert (effects(), ended(), owed()) == ([1], ["acked"], [])


def test_a_process_that_dies_between_the_handlers_and_the_commit_leaves_nothing(subscribe: Subscribe) -> None:
    subscribe(write, **ONCE)
    publish(*range(3))
    batch = claimed()
    with transaction.atomic():
        deliver(batch)
        assert effects() == [0, 1, 2]
        transaction.set_rollback(True)  # as far as the database can tell
    assert (effects(), ended(), states()) == ([], [], ["claimed"] * 3)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_of_a_hundred_the_one_that_fails_is_undone_and_no_other(subscribe: Subscribe, kind: str) -> None:
    bill = write_but_fail_on(42)

    async def bill_later(message: Received[Any]) -> None:
        await sync_to_async(bill)(message)

    subscribe(bill if kind == "sync" else bill_later, max_attempts=1, **ONCE)
    publish(*range(100))
    deliver(claimed())
    assert effects() == [n for n in range(100) if n != 42]
    assert sorted(ended()) == ["acked"] * 99 + ["dead"]
    assert [letter.error_message for letter in dead_letters()] == ["42"]


def test_ten_messages_share_a_savepoint_and_a_failing_group_goes_one_by_one(subscribe: Subscribe) -> None:
    subscribe(write_but_fail_on(17), max_attempts=1, **ONCE)
    publish(*range(30))
    batch = claimed()
    with CaptureQueriesContext(connection) as captured:
        deliver(batch)
    opened = [q["sql"] for q in captured if q["sql"].startswith("SAVEPOINT")]
    # Three groups, ten singly, and the two that the settlement opens itself.
    assert 13 <= len(opened) <= 16


def test_the_effects_of_a_retry_are_there_once(subscribe: Subscribe) -> None:
    def bill(message: Received[Any]) -> None:
        write(message)
        if message.attempt == 1:
            raise OSError

    subscribe(bill, **ONCE)
    publish(*range(20))
    drain()
    make_due()
    drain()
    assert effects() == list(range(20))
    assert ended() == ["acked"] * 20


def test_a_list_that_fails_in_part_is_done_again_without_those_that_failed(subscribe: Subscribe) -> None:
    calls: list[list[int]] = []

    def bill(messages: Messages) -> None:
        calls.append([m.payload for m in messages])
        Effect.objects.bulk_create(Effect(value=m.payload) for m in messages)
        failing = {1: {3}, 2: {5, 6}}.get(len(calls), set())
        raise broker.BatchFailures({m.ack_id: ValueError() for m in messages if m.payload in failing})

    subscribe(bill, max_attempts=1, **ONCE)
    publish(*range(8))
    deliver(claimed())
    assert calls == [[0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 4, 5, 6, 7], [0, 1, 2, 4, 7]]
    assert effects() == [0, 1, 2, 4, 7]
    assert len(dead_letters()) == 3


def test_a_list_that_keeps_failing_in_part_settles_only_what_a_whole_call_has_done(subscribe: Subscribe) -> None:
    def bill(messages: Messages) -> None:
        Effect.objects.bulk_create(Effect(value=m.payload) for m in messages)
        if len(messages) > 2:
            raise broker.BatchFailures({messages[0].ack_id: ValueError()})

    subscribe(bill, max_attempts=1, **ONCE)
    published = publish(*range(5))
    deliver(claimed())
    assert effects() == [3, 4]
    assert acked() == set(published[3:])
    assert len(dead_letters()) == 3


def test_a_list_that_fails_as_a_whole_leaves_no_effect(subscribe: Subscribe) -> None:
    def bill(messages: Messages) -> None:
        Effect.objects.bulk_create(Effect(value=m.payload) for m in messages)
        if len(messages) > 1:
            raise ValueError

    subscribe(bill, **ONCE)
    publish(*range(3))
    batch = claimed()
    deliver(batch)
    assert (effects(), states()) == ([], ["ready"] * 3)
    drain()
    assert (effects(), ended()) == ([0, 1, 2], ["acked"] * 3)


def test_a_claim_that_was_lost_is_not_run(subscribe: Subscribe) -> None:
    subscribe(write, **ONCE)
    publish(1, 2)
    batch = claimed()
    take_away()
    deliver(batch)
    assert (effects(), ended(), states()) == ([], [], ["claimed"] * 2)


@pytest.mark.postgresql
def test_what_is_handled_after_its_lease_is_nobody_elses_until_it_is_done(subscribe: Subscribe) -> None:
    elsewhere = Actors()
    swept: list[int] = []

    def bill(message: Received[Any]) -> None:
        write(message)
        swept.append(elsewhere.start(lambda: broker.sweep().lapsed).result(30))

    subscribe(bill, **ONCE)
    publish(1)
    batch = claimed()
    end_leases()
    deliver(batch)
    elsewhere.close()
    assert swept == [0]
    assert (effects(), ended()) == ([1], ["acked"])


def test_a_statement_that_failed_in_a_handler_that_went_on_is_its_own_failure(subscribe: Subscribe) -> None:
    def bill(message: Received[Any]) -> None:
        write(message)
        if message.payload == 1:
            try:
                Effect.objects.create(pk=Effect.objects.order_by("pk")[0].pk, value=0)
            except IntegrityError:
                return

    subscribe(bill, max_attempts=1, **ONCE)
    publish(*range(3))
    drain()
    assert (effects(), sorted(ended())) == ([0, 2], ["acked", "acked", "dead"])


def test_a_handler_that_marks_its_transaction_to_be_undone_has_failed(subscribe: Subscribe) -> None:
    def bill(message: Received[Any]) -> None:
        write(message)
        if message.payload == 1:
            transaction.set_rollback(True)

    subscribe(bill, max_attempts=1, **ONCE)
    publish(*range(3))
    drain()
    assert (effects(), sorted(ended())) == ([0, 2], ["acked", "acked", "dead"])
    assert "left its transaction to be rolled back" in dead_letters()[0].error_message


def test_what_a_handler_publishes_is_part_of_it(subscribe: Subscribe) -> None:
    def bill(message: Received[Any]) -> None:
        broker.publish("orders", message.payload, routing_key="billed")
        if message.payload == 1:
            raise ValueError

    got: list[int] = []
    subscribe(bill, bindings=[{"routing_key": "new"}], max_attempts=1, **ONCE)
    subscribe(lambda message: got.append(message.payload), "audit", bindings=[{"routing_key": "billed"}])
    publish(*range(3), routing_key="new")
    drain()
    assert sorted(got) == [0, 2]


def test_what_is_done_on_commit_is_done_when_the_acks_are_there(subscribe: Subscribe) -> None:
    seen: list[int] = []

    def bill(message: Received[Any]) -> None:
        transaction.on_commit(lambda: seen.append(len(owed())))

    subscribe(bill, **ONCE)
    publish(1, 2)
    drain()
    assert seen == [0, 0]


@pytest.mark.parametrize("reply", ["nowhere", "answers"])
def test_a_reply_that_cannot_be_published_undoes_the_effects_of_its_message(subscribe: Subscribe, reply: str) -> None:
    broker.create_topic(TopicConfig("answers", max_message_size=8, stream=False))

    def bill(message: Received[Any]) -> str:
        write(message)
        return "far too long an answer" if message.payload == 1 else "ok"

    subscribe(bill, max_attempts=1, **ONCE)
    publish(0, 2, reply_to="answers")
    publish(1, reply_to=reply)
    drain()
    assert effects() == [0, 2]
    assert sorted(ended()) == ["acked", "acked", "dead"]
    assert Message.objects.filter(topic__name="answers").count() == 2
    assert len(attempts()) == 1
