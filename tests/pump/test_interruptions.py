"""What breaks a batch in the middle: a worker that stops, a database connection that is gone."""

import asyncio
import signal
import threading
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import Error, OperationalError, connection, transaction

from datapunk_broker import broker
from datapunk_broker.envelope import Received
from datapunk_broker.pump import stopping
from datapunk_broker.pump.deliver import deliver
from tests.engine.racing import Actors
from tests.pump.conftest import Subscribe
from tests.pump.make import (
    acked,
    attempts,
    claimed,
    dead_letters,
    drain,
    ended,
    owed,
    publish,
    states,
)
from tests.shop.models import Effect

pytestmark = pytest.mark.django_db(transaction=True)

ONCE = {"delivery_mode": "exactly_once", "retry_delay": 0}
Messages = list[Received[Any]]


def write(message: Received[Any]) -> None:
    Effect.objects.create(value=message.payload)


def effects() -> list[int]:
    return sorted(Effect.objects.values_list("value", flat=True))


def kill_connection() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def leave(message: Received[Any]) -> None:
    write(message)
    if message.payload == 2:
        raise SystemExit


async def leave_later(message: Received[Any]) -> None:
    await asyncio.sleep(0.1 * message.payload)
    await sync_to_async(leave)(message)


@pytest.mark.parametrize(
    ("mode", "bill", "done", "handed_back"),
    [
        ("at_least_once", leave, [0, 1], [3]),
        ("at_least_once", leave_later, [0, 1], []),  # the last is under way as well
        ("exactly_once", leave, [], [0, 1, 3]),  # they share a savepoint, so the first two are undone
        ("exactly_once", leave_later, [], [0, 1, 3]),
    ],
)
def test_a_worker_that_stops_settles_what_is_done_and_hands_back_the_rest(
    subscribe: Subscribe, mode: str, bill: Any, done: list[int], handed_back: list[int]
) -> None:
    subscribe(bill, delivery_mode=mode)
    published = publish(0, 1, 2, 3)
    with pytest.raises(SystemExit):
        deliver(claimed())
    assert acked() == {published[n] for n in done}
    ready = [d for d in owed() if d.state == "ready"]
    assert [d.message_id for d in ready] == [published[n] for n in handed_back]
    assert {(d.claims, d.attempt, d.lapses) for d in ready} <= {(0, 0, 0)}
    assert attempts() == []
    if mode == "exactly_once":
        assert effects() == []


def test_what_was_committed_group_by_group_stays_when_the_worker_stops(subscribe: Subscribe) -> None:
    def bill(message: Received[Any]) -> None:
        write(message)
        if message.payload == 15:
            raise KeyboardInterrupt

    subscribe(bill, **ONCE)
    published = publish(*range(30))
    with pytest.raises(KeyboardInterrupt):
        deliver(claimed())
    assert effects() == list(range(10))
    assert acked() == set(published[:10])


def test_what_was_cut_short_is_claimed_alone_the_next_time(subscribe: Subscribe) -> None:
    subscribe(leave, max_attempts=2)
    publish(0, 1, 2, 3)
    with pytest.raises(SystemExit):
        drain()
    broker.sweep()
    assert [(d.attempt, d.lapses) for d in owed()] == [(0, 1), (0, 0)]
    assert drain_through_exits() == 2

    # It takes its process down whenever it is claimed, so in the end it is a dead letter.
    assert sorted(ended()) == ["acked"] * 3 + ["dead"]
    assert [letter.reason for letter in dead_letters()] == ["lease_lost"]


def drain_through_exits() -> int:
    exits = 0
    while owed():
        try:
            drain()
        except SystemExit:
            exits += 1
        broker.sweep()
    return exits


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_batch_that_was_cut_short_is_claimed_one_by_one(subscribe: Subscribe, kind: str) -> None:
    def bill(messages: Messages) -> None:
        raise SystemExit

    async def bill_later(messages: Messages) -> None:
        raise SystemExit

    subscribe(bill if kind == "sync" else bill_later)
    publish(1, 2)
    with pytest.raises(SystemExit):
        drain()
    broker.sweep()
    assert [(d.state, d.attempt, d.lapses) for d in owed()] == [("ready", 0, 1)] * 2


def test_ctrl_c_cancels_the_async_calls_that_are_under_way(subscribe: Subscribe) -> None:
    cancelled: list[int] = []

    async def bill(message: Received[Any]) -> None:
        if message.payload == 0:
            return
        try:
            await asyncio.sleep(0.2)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(message.payload)
            raise

    subscribe(bill)
    published = publish(0, 1)
    with pytest.raises(KeyboardInterrupt):
        drain()
    assert cancelled == [1]
    assert acked() == {published[0]}
    assert attempts() == []
    broker.sweep()
    assert [(d.state, d.lapses) for d in owed()] == [("ready", 1)]


def test_pumps_that_are_told_to_stop_end_after_the_call_they_are_in(subscribe: Subscribe) -> None:
    def bill(message: Received[Any]) -> None:
        if message.payload == 1:
            stopping.set()

    subscribe(bill)
    published = publish(*range(4))
    try:
        drain()
    finally:
        stopping.clear()
    assert acked() == set(published[:2])
    assert [(d.state, d.claims) for d in owed()] == [("ready", 0)] * 2


def test_a_batch_that_breaks_gives_back_what_was_claimed_beside_it(subscribe: Subscribe) -> None:
    def bill(message: Received[Any]) -> None:
        raise SystemExit

    for name in ("first", "second", "third"):
        subscribe(bill, name)
    publish(1)
    with pytest.raises(SystemExit):
        drain()
    assert sorted(states("first") + states("second") + states("third")) == ["claimed", "ready", "ready"]


@pytest.mark.postgresql
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_handler_that_loses_the_connection_fails_alone(subscribe: Subscribe, kind: str) -> None:
    def bill(message: Received[Any]) -> None:
        write(message)
        if message.payload == 1:
            kill_connection()

    async def bill_later(message: Received[Any]) -> None:
        await asyncio.sleep(0.1 * message.payload)
        await sync_to_async(bill)(message)

    subscribe(bill if kind == "sync" else bill_later, max_attempts=1)
    published = publish(*range(4))
    drain()
    assert acked() == {published[0], published[2], published[3]}
    assert [letter.message_id for letter in dead_letters()] == [published[1]]
    assert effects() == [0, 1, 2, 3]


@pytest.mark.postgresql
@pytest.mark.parametrize("how", ["closed", "terminated", "left open"])
def test_a_handler_that_breaks_the_connection_and_says_nothing_is_acked_all_the_same(
    subscribe: Subscribe, how: str
) -> None:
    def bill(message: Received[Any]) -> None:
        if message.payload != 1:
            return
        if how == "closed":
            connection.close()
        elif how == "left open":
            transaction.set_autocommit(False)
        else:
            try:
                kill_connection()
            except OperationalError:
                return

    subscribe(bill)
    published = publish(*range(3))
    drain()
    assert acked() == set(published)


@pytest.mark.postgresql
def test_acks_that_the_database_did_not_take_are_written_over_a_new_connection(subscribe: Subscribe) -> None:
    elsewhere = Actors()

    def bill(message: Received[Any]) -> None:
        write(message)
        if message.payload == 2:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                pid = cursor.fetchone()[0]
            elsewhere.start(lambda: terminate(pid)).result(30)

    subscribe(bill)
    published = publish(*range(3))
    drain()
    elsewhere.close()
    assert acked() == set(published)
    assert effects() == [0, 1, 2]


def terminate(pid: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


@pytest.mark.postgresql
@pytest.mark.parametrize("how", ["closed", "terminated", "terminated by another", "terminated in silence"])
def test_exactly_once_stays_exact_when_the_connection_is_lost(subscribe: Subscribe, how: str) -> None:
    elsewhere = Actors()

    def bill(message: Received[Any]) -> None:
        write(message)
        if message.payload != 12:
            return
        if how == "closed":
            connection.close()
        elif how == "terminated":
            kill_connection()
        elif how == "terminated by another":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                pid = cursor.fetchone()[0]
            elsewhere.start(lambda: terminate(pid)).result(30)
        else:
            try:
                kill_connection()
            except Error:
                return

    subscribe(bill, max_attempts=2, **ONCE)
    publish(*range(20))
    with pytest.raises(Error):
        deliver(claimed())
    assert effects() == []
    assert [d.state for d in owed()].count("ready") == 10
    broken = drain_through_errors()
    elsewhere.close()
    assert effects() == [n for n in range(20) if n != 12]
    assert sorted(ended()) == ["acked"] * 19 + ["dead"]
    assert broken == 2
    assert [letter.attempts for letter in dead_letters()] == [2]


def drain_through_errors() -> int:
    errors = 0
    while owed():
        broker.sweep()
        try:
            drain()
        except Error:
            errors += 1
    return errors


@pytest.mark.postgresql
def test_while_the_database_is_away_nothing_is_acked_wrongly(
    subscribe: Subscribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = threading.Event()

    def bill(message: Received[Any]) -> None:
        if message.payload == 2:
            kill_soon()
            away.set()

    connect = connection.get_new_connection

    def get_new_connection(parameters: Any) -> Any:
        if away.is_set():
            raise OperationalError("the server is starting up")
        return connect(parameters)

    def kill_soon() -> None:
        try:
            kill_connection()
        except OperationalError:
            return

    monkeypatch.setattr(connection, "get_new_connection", get_new_connection)
    subscribe(bill)
    publish(*range(3))
    with pytest.raises(OperationalError, match="starting up"):
        drain()
    away.clear()
    assert (ended(), states()) == ([], ["claimed"] * 3)
