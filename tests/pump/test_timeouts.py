"""Timeouts: by cancellation, or by SIGALRM in a main thread; in other threads only the lease fences."""

import asyncio
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from datapunk_broker.envelope import Received
from datapunk_broker.exceptions import HandlerTimeoutError
from datapunk_broker.transports.alarm import Alarm
from tests.engine.racing import Actors
from tests.pump.conftest import Subscribe
from tests.pump.make import acked, attempts, dead_letters, drain, ended, publish
from tests.shop.models import Effect

TIMEOUT = 0.05

AMPLE = 0.5
"""Seconds that are enough for a call that does next to nothing, on a machine with other things to do."""


def loop_for_ever(message: Received[Any]) -> None:
    if message.payload == 1:
        while True:
            threading.Event().wait(1)


async def wait_for_ever(message: Received[Any]) -> None:
    if message.payload == 1:
        await asyncio.sleep(60)


def many(messages: list[Received[Any]]) -> None:
    threading.Event().wait(60)


async def many_later(messages: list[Received[Any]]) -> None:
    await asyncio.sleep(60)


@pytest.mark.django_db
@pytest.mark.parametrize("handler", [loop_for_ever, wait_for_ever])
@pytest.mark.parametrize("mode", ["at_least_once", "exactly_once"])
def test_a_call_that_runs_too_long_is_stopped_and_charged(subscribe: Subscribe, handler: Any, mode: str) -> None:
    subscribe(handler, timeout=AMPLE, max_attempts=1, delivery_mode=mode)
    published = publish(0, 1, 2)
    drain()
    assert acked() == {published[0], published[2]}
    assert [attempt.reason for attempt in attempts()] == ["timeout"]
    assert [letter.error_message for letter in dead_letters()] == [str(HandlerTimeoutError(AMPLE))]


@pytest.mark.django_db
@pytest.mark.parametrize("handler", [many, many_later])
def test_a_batch_that_runs_too_long_is_stopped_and_charged(subscribe: Subscribe, handler: Any) -> None:
    subscribe(handler, timeout=TIMEOUT, retry_delay=60)
    publish(1, 2)
    drain()
    assert [attempt.reason for attempt in attempts()] == ["timeout", "timeout"]


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("mode", ["at_least_once", "exactly_once"])
def test_a_call_that_is_stuck_in_the_database_is_stopped_and_its_connection_stays_usable(
    subscribe: Subscribe, mode: str
) -> None:
    def bill(message: Received[Any]) -> None:
        Effect.objects.create(value=message.payload)
        if message.payload == 1:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(60)")

    def pid() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return int(cursor.fetchone()[0])

    subscribe(bill, timeout=AMPLE, max_attempts=1, delivery_mode=mode)
    published = publish(0, 1, 2)
    before = pid()
    drain()
    assert pid() == before
    assert acked() == {published[0], published[2]}
    assert [attempt.reason for attempt in attempts()] == ["timeout"]
    kept = [0, 1, 2] if mode == "at_least_once" else [0, 2]
    assert list(Effect.objects.order_by("value").values_list("value", flat=True)) == kept


@pytest.mark.django_db
def test_a_timeout_of_the_handlers_own_is_told_apart(subscribe: Subscribe) -> None:
    async def bill(message: Received[Any]) -> None:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(60)

    subscribe(bill, timeout=10, max_attempts=1)
    publish(1)
    drain()
    assert [letter.error_class for letter in dead_letters()] == ["TimeoutError"]


@pytest.mark.django_db(transaction=True)
def test_in_a_thread_nothing_stops_a_call_and_one_line_a_subscription_says_so(
    subscribe: Subscribe, caplog: pytest.LogCaptureFixture
) -> None:
    def bill(message: Received[Any]) -> None:
        threading.Event().wait(2 * TIMEOUT)

    subscribe(bill, timeout=TIMEOUT)
    subscribe(bill, "other", timeout=TIMEOUT)
    publish(1, 2)
    actors = Actors()
    actors.start(drain).result(30)
    actors.close()
    assert ended() == ended("other") == ["acked", "acked"]
    lines = [record for record in caplog.records if "Nothing stops this handler" in record.message]
    assert sorted(line.subscription for line in lines) == ["billing", "other"]  # type: ignore[attr-defined]
    assert {line.levelname for line in lines} == {"WARNING"}


@pytest.mark.django_db
def test_in_the_main_thread_and_of_async_handlers_nothing_is_said(
    subscribe: Subscribe, caplog: pytest.LogCaptureFixture
) -> None:
    subscribe(loop_for_ever)
    subscribe(wait_for_ever, "other")
    publish(0)
    drain()
    assert "Nothing stops" not in caplog.text


@pytest.fixture
def alarm() -> Any:
    with Alarm.installed(TIMEOUT) as alarm:
        yield alarm


def test_a_call_in_time_returns_what_it_returns(alarm: Alarm) -> None:
    assert alarm.call(str, 7) == "7"
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_what_a_call_raises_passes(alarm: Alarm) -> None:
    with pytest.raises(ZeroDivisionError):
        alarm.call(lambda n: n / 0, 1)


def test_except_exception_does_not_swallow_the_end_of_the_time(alarm: Alarm) -> None:
    def stubborn(_: Any) -> None:
        try:
            threading.Event().wait(60)
        except Exception:  # noqa: BLE001 - as handlers do
            threading.Event().wait(60)

    with pytest.raises(HandlerTimeoutError):
        alarm.call(stubborn, None)


@pytest.fixture
def rung() -> Iterator[list[int]]:
    """How often a timer of somebody else's rang."""
    times: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda *_: times.append(1))
    yield times
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_a_timer_of_somebody_elses_goes_on_as_if_nobody_had_taken_it(rung: list[int]) -> None:
    signal.setitimer(signal.ITIMER_REAL, 60, 7)
    with Alarm.installed(60) as alarm:
        alarm.call(threading.Event().wait, TIMEOUT)
    left, interval = signal.getitimer(signal.ITIMER_REAL)
    assert 0 < left <= 60 - TIMEOUT
    assert interval == 7


def test_a_timer_of_somebody_elses_whose_time_came_meanwhile_rings_afterwards(rung: list[int]) -> None:
    signal.setitimer(signal.ITIMER_REAL, AMPLE)
    with Alarm.installed(60) as alarm:
        alarm.call(threading.Event().wait, 2 * AMPLE)
        assert rung == []
    until = time.monotonic() + 30
    while not rung and time.monotonic() < until:
        threading.Event().wait(0.01)
    assert rung == [1]


def test_a_call_that_ends_just_in_time_never_lets_the_signal_out() -> None:
    seconds, outcomes = 0.002, set()
    for step in range(200):

        def work(longer: float) -> str:
            until = time.monotonic() + longer
            while time.monotonic() < until:
                pass
            return "done"

        with Alarm.installed(seconds) as alarm:
            began = time.monotonic()
            try:
                outcomes.add(alarm.call(work, seconds * (0.5 + step / 200)))
            except HandlerTimeoutError:
                assert time.monotonic() - began >= seconds
                outcomes.add("late")
            work(seconds)  # what is still to come would come here
    assert outcomes == {"done", "late"}
