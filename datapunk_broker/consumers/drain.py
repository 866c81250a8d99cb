"""Let clients leave before the server hangs up on them.

uvicorn ends its sockets as soon as it is told to end, with a code that says nothing, and waits for ever for an event
stream. So its handler of SIGTERM and SIGINT is called a moment later: when every connection has said goodbye.
"""

import asyncio
import signal
import sys
import threading
from types import FrameType
from typing import Any

from datapunk_broker.consumers.hub import Hub

PATIENCE = 2.0
"""Seconds that the server's end is held back at most."""

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def hold_back_the_end(hub: Hub) -> None:
    """See to it that the hub drains before uvicorn ends; once a server, and under no other one."""
    uvicorn: Any = sys.modules.get("uvicorn")
    if uvicorn is None or threading.current_thread() is not threading.main_thread():
        return
    for number in SIGNALS:
        handler = signal.getsignal(number)
        if isinstance(getattr(handler, "__self__", None), uvicorn.Server):
            signal.signal(number, _Held(hub, handler))


class _Held:
    """A signal's handler that drains, and then calls the one that was there."""

    def __init__(self, hub: Hub, handler: Any) -> None:
        self._hub, self._handler = hub, handler
        self._loop = asyncio.get_running_loop()
        self._draining: asyncio.Task[None] | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._hub.draining:
            self._handler(number, frame)  # asked a second time
        else:
            self._hub.draining = True
            self._loop.call_soon_threadsafe(self._begin, number)

    def _begin(self, number: int) -> None:
        self._draining = self._loop.create_task(self._drain(number))

    async def _drain(self, number: int) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._hub.drain()
        except TimeoutError:
            pass  # whoever has not left by now is left behind
        finally:
            self._handler(number, None)
