"""The sending side of a socket: one frame at a time, each as soon as the client takes it."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from datapunk_broker import frames
from datapunk_broker.frames import CloseCode

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MOST_REPLIES = 100
"""Replies that wait to be taken; then nothing more is read from the client either."""

CLOSING = 5.0
"""Seconds that a goodbye may take."""


class LeaveError(Exception):
    """The server ends the connection."""

    def __init__(self, code: CloseCode | int) -> None:
        self.code = code
        super().__init__(code)

    @property
    def reconnect(self) -> bool:
        """Whether the client may come again."""
        return not isinstance(self.code, CloseCode) or self.code.reconnect

    @property
    def reason(self) -> str:
        """The code by name, for the close frame."""
        return self.code.name.lower() if isinstance(self.code, CloseCode) else "internal_error"


class Line:
    """Sends frames of a client's subscriptions and replies to what it asks, in turn.

    Replies wait in a short queue, so that what the client asks for is done though it takes nothing at the moment.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._turn = asyncio.Lock()
        self._replies: asyncio.Queue[str] = asyncio.Queue(MOST_REPLIES)
        self._reply: str | None = None
        self._since: float | None = None

    async def send(self, text: str) -> None:
        """Send a frame, in turn."""
        async with self._turn:
            self._since = asyncio.get_running_loop().time()
            try:
                await self._send({"type": "websocket.send", "text": text})
            finally:
                self._since = None

    async def reply(self, frame: frames.ServerFrame) -> None:
        """Send a frame behind the replies before it; waits only while too many do."""
        await self._replies.put(frames.write(frame))

    async def reply_on(self) -> None:
        """Send the replies, until cancelled."""
        while True:
            self._reply = await self._replies.get()
            await self.send(self._reply)
            self._reply = None

    def stalled(self) -> float:
        """Return the seconds that the frame on its way has not been taken."""
        return 0.0 if self._since is None else asyncio.get_running_loop().time() - self._since

    async def close(self, leave: LeaveError, patience: float) -> None:
        """Send what is left to say, a goodbye and the close; what the client does not take by then is not sent."""
        try:
            async with asyncio.timeout(patience):
                for text in self._left():
                    await self._send({"type": "websocket.send", "text": text})
                goodbye = frames.Goodbye(int(leave.code), leave.reconnect)
                await self._send({"type": "websocket.send", "text": frames.write(goodbye)})
                await self._send({"type": "websocket.close", "code": int(leave.code), "reason": leave.reason})
        except (TimeoutError, OSError):
            return  # it is gone already

    def _left(self) -> list[str]:
        left = [] if self._reply is None else [self._reply]
        while not self._replies.empty():
            left.append(self._replies.get_nowait())
        return left
