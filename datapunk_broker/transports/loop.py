"""Run a coroutine to its end from a thread that has no event loop, and cancel it when that thread is interrupted.

The event loop runs in a thread of its own; ``sync_to_async`` in the coroutine comes back to the calling thread,
and so to its database connection and its transaction.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from asgiref.sync import async_to_sync

from datapunk_broker.exceptions import HandlerTimeoutError

R = TypeVar("R")

Function = Callable[[Any], Coroutine[Any, Any, Any]]

STOPPING = 1.0
"""Seconds that a coroutine which is cancelled has to clean up."""


def run(make: Callable[[], Coroutine[Any, Any, R]]) -> R:
    """Return what the coroutine returns, or raise what it raises."""
    ended = threading.Event()
    cancels: list[Callable[[], object]] = []

    async def main() -> R:
        loop, task = asyncio.get_running_loop(), asyncio.ensure_future(make())
        cancels.append(lambda: loop.call_soon_threadsafe(task.cancel))
        try:
            return await task
        finally:
            ended.set()

    try:
        return async_to_sync(main)()
    except Exception:
        raise
    except BaseException:
        for cancel in cancels:
            with suppress(RuntimeError):  # the loop is closed: the coroutine itself has ended it
                cancel()
                ended.wait(STOPPING)
        raise


async def call_within(seconds: float, function: Function, argument: Any) -> Any:
    """Return what the function returns; raises HandlerTimeoutError after the seconds."""
    try:
        async with asyncio.timeout(seconds) as limit:
            return await function(argument)
    except TimeoutError as error:
        if limit.expired():
            raise HandlerTimeoutError(seconds) from error
        raise


def unless_cancelled(error: BaseException) -> None:
    """Raise a cancellation that was meant for the calling task itself: its worker stops."""
    me = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and me is not None and me.cancelling():
        raise error
