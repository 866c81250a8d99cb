"""Wait for messages on an event loop: one look at the database for all who wait, and nothing held by each."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import msgspec
from asgiref.sync import SyncToAsync, sync_to_async
from django.db import connections

from datapunk_broker import broker, signals
from datapunk_broker.envelope import Received
from datapunk_broker.exceptions import BrokerError
from datapunk_broker.states import Transport

T = TypeVar("T")
Messages = Sequence[Received[Any]]

LOOK_EVERY = 0.1
"""Seconds between two looks; a publish in this process makes the next one come at once."""

LOOK_PAUSE = 0.005
"""Seconds at least between two looks, however much is published."""


def claim(subscription: str, max_messages: int) -> Messages:
    """Pull now; the payloads stay as they were published."""
    return broker.pull(subscription, max_messages, payload_type=msgspec.Raw)


async def wait(subscription: str, max_messages: int, seconds: float) -> Messages:
    """Return what comes within so many seconds, as soon as something does; who came first is served first."""
    loop = asyncio.get_running_loop()
    if loop not in _rooms:
        _rooms[loop] = WaitingRoom()
        signals.published.connect(_on_published, dispatch_uid="datapunk_broker.api.waiting")
    return await _rooms[loop].wait(subscription, max_messages, seconds)


async def let_go_of_thread() -> None:
    """End the thread that asgiref keeps for a request until its response, and close its connections."""
    context = SyncToAsync.thread_sensitive_context.get(None)
    if context is not None and context in SyncToAsync.context_to_thread_executor:
        await sync_to_async(connections.close_all)()
        SyncToAsync.context_to_thread_executor.pop(context).shutdown(wait=False)


class Waiter:
    """One who waits. is_served: a claim is being made for them; is_late: their time is up meanwhile."""

    def __init__(self, max_messages: int) -> None:
        self.max_messages = max_messages
        self.answer: asyncio.Future[Messages] = asyncio.get_running_loop().create_future()
        self.is_served = self.is_late = False


class WaitingRoom:
    """Those who wait on one event loop. While anybody does, it has one thread with one connection."""

    def __init__(self) -> None:
        self.bell = asyncio.Event()
        self._queues: dict[str, deque[Waiter]] = {}
        self._thread = ThreadPoolExecutor(1, "datapunk-pull")
        self._serving = asyncio.create_task(self._serve())

    async def wait(self, subscription: str, max_messages: int, seconds: float) -> Messages:
        waiter = Waiter(max_messages)
        self._queues.setdefault(subscription, deque()).append(waiter)
        self.bell.set()
        try:
            await asyncio.wait([waiter.answer], timeout=seconds)
            if waiter.is_served:
                waiter.is_late = True
                await asyncio.wait([waiter.answer])  # what is being claimed is theirs
            return waiter.answer.result() if waiter.answer.done() else ()
        finally:
            waiter.answer.cancel()

    async def _serve(self) -> None:
        try:
            while self._queues:
                self.bell.clear()
                for name in await self._run(broker.with_messages, list(self._queues)):
                    await self._serve_queue(name, self._queues[name])
                await self._pause()
                self._queues = {n: q for n, queue in self._queues.items() if (q := _still_there(queue))}
        except Exception as error:  # noqa: BLE001 - it is told to everybody who waits
            self._fail(error)
        finally:
            _rooms.pop(asyncio.get_running_loop(), None)
            self._thread.submit(connections.close_all)
            self._thread.shutdown(wait=False)

    async def _serve_queue(self, name: str, queue: deque[Waiter]) -> None:
        while queue:
            waiter = queue[0]
            messages = () if waiter.answer.done() else await self._claim_for(waiter, name)
            if waiter.answer.done():
                queue.popleft()
            elif not messages:
                return

    async def _claim_for(self, waiter: Waiter, name: str) -> Messages:
        waiter.is_served = True
        try:
            messages = await self._run(claim, name, waiter.max_messages)
        except BrokerError as error:
            _answer(waiter, error)
            return ()
        finally:
            waiter.is_served = False
        if waiter.answer.cancelled() and messages:
            await self._run(partial(broker.release, [m.ack_id for m in messages], subscription=name))
        elif messages or waiter.is_late:
            waiter.answer.set_result(messages)
        return messages

    async def _run(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(work, *args))

    async def _pause(self) -> None:
        await asyncio.sleep(LOOK_PAUSE)
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY):
                await self.bell.wait()

    def _fail(self, error: Exception) -> None:
        for queue in self._queues.values():
            for waiter in queue:
                _answer(waiter, error)


_rooms: dict[asyncio.AbstractEventLoop, WaitingRoom] = {}


def _still_there(queue: deque[Waiter]) -> deque[Waiter]:
    return deque(waiter for waiter in queue if not waiter.answer.done())


def _answer(waiter: Waiter, error: Exception) -> None:
    if not waiter.answer.done():
        waiter.answer.set_exception(error)


def _on_published(transports: frozenset[str], **_: Any) -> None:
    if Transport.PULL in transports:
        for loop, room in list(_rooms.items()):
            loop.call_soon_threadsafe(room.bell.set)
