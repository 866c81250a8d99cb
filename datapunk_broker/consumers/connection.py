"""One WebSocket: from accept to goodbye."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from uuid import uuid4

from django.db import Error

from datapunk_broker import frames
from datapunk_broker.consumers.conversation import Conversation
from datapunk_broker.consumers.hub import Hub
from datapunk_broker.consumers.identity import Identity, by_session, by_token, session_key_of
from datapunk_broker.consumers.limits import HELLO_BYTES, Bucket, Limits
from datapunk_broker.consumers.line import CLOSING, LeaveError, Line, Send
from datapunk_broker.consumers.origin import is_allowed
from datapunk_broker.consumers.threads import in_database
from datapunk_broker.frames import SUBPROTOCOL, CloseCode, FrameInvalidError
from datapunk_broker.observability.logs import get_logger

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

INTERNAL_ERROR = 1011

SILENT_PINGS = 4
"""That a client may leave out; a browser lets a hidden page ping once a minute."""

log = get_logger("consumers")


class _GoneError(Exception):
    """The client closed, or the network did."""


class Connection:
    """A client's socket, by the scope and the two callables of ASGI."""

    def __init__(self, scope: Mapping[str, Any], receive: Receive, send: Send, limits: Limits, hub: Hub) -> None:
        self.scope, self.limits, self.hub = scope, limits, hub
        self.id = uuid4().hex
        self._receive, self._send = receive, send
        self.line = Line(send)
        self._loop = asyncio.get_running_loop()
        self._told = asyncio.Event()
        self._left = asyncio.Event()
        self._heard_at: float | None = None

    async def run(self) -> None:
        """Serve the client until it or the server leaves."""
        await self._receive()  # that it wants to connect
        offered = self.scope.get("subprotocols") or []
        chosen = SUBPROTOCOL if SUBPROTOCOL in offered else None
        await self._send({"type": "websocket.accept", "subprotocol": chosen})
        self.hub.enter(self)
        try:
            leave = await self._until_someone_leaves(offered)
            if leave is not None:
                await self.line.close(leave, self._patience(leave))
        finally:
            self.hub.exit(self)
            self._left.set()

    def _patience(self, leave: LeaveError) -> float:
        # Who was too slow to take a frame needs time to take what is before the goodbye.
        return max(CLOSING, self.limits.slow_seconds) if leave.code == CloseCode.TOO_SLOW else CLOSING

    async def leave(self) -> None:
        """Say goodbye because the server ends; returns when that is done."""
        self._told.set()
        await self._left.wait()

    async def _until_someone_leaves(self, offered: list[str]) -> LeaveError | None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._until_told())
                tasks.create_task(self.line.reply_on())
                self._check_request(offered)
                identity = await self._identify()
                conversation = Conversation(identity, self.line, self.hub, self.limits, tasks)
                await self.line.reply(frames.Welcome(self.id, self.limits.told()))
                tasks.create_task(self._watch(conversation))
                await self._listen(conversation)
        except BaseExceptionGroup as group:
            return self._reason_of(group)
        return None

    def _reason_of(self, group: BaseExceptionGroup[BaseException]) -> LeaveError | None:
        errors = list(_leaves(group))
        for error in errors:
            if isinstance(error, LeaveError):
                return error
        if any(isinstance(error, _GoneError | OSError) for error in errors):
            return None
        for error in errors:
            trace = None if isinstance(error, Error) else error  # what the database says of itself is enough
            log.error("A WebSocket failed; its client is asked to come again.", exc_info=trace, error=str(error))
        return LeaveError(INTERNAL_ERROR)

    async def _until_told(self) -> None:
        await self._told.wait()
        raise LeaveError(CloseCode.DRAINING)

    def _check_request(self, offered: list[str]) -> None:
        if self.hub.draining:
            raise LeaveError(CloseCode.DRAINING)
        if not is_allowed(self.scope):
            raise LeaveError(CloseCode.FORBIDDEN)
        if offered and SUBPROTOCOL not in offered:
            raise LeaveError(CloseCode.BAD_FRAME)

    async def _identify(self) -> Identity:
        identity = await in_database(by_session, session_key_of(self.scope["headers"]))
        if identity is not None:
            return identity
        try:
            async with asyncio.timeout(self.limits.hello_seconds):
                frame = await self._read(HELLO_BYTES)
        except TimeoutError:
            raise LeaveError(CloseCode.NO_HELLO) from None
        if not isinstance(frame, frames.Hello):
            raise LeaveError(CloseCode.NO_HELLO)
        identity = await in_database(by_token, frame.token)
        if identity is None:
            raise LeaveError(CloseCode.BAD_TOKEN)
        return identity

    async def _listen(self, conversation: Conversation) -> None:
        limits = self.limits
        bucket = Bucket(limits.frames_per_second, limits.frames_burst, now=self._loop.time())
        while True:
            frame = await self._read(limits.largest_frame, conversation)
            now = self._loop.time()
            if not bucket.take(now):
                raise LeaveError(CloseCode.RATE)
            if self._heard_at is not None or isinstance(frame, frames.Ping):
                self._heard_at = now
            await conversation.hear(frame)

    async def _read(self, limit: int, conversation: Conversation | None = None) -> frames.AnyClientFrame:
        event = await self._receive()
        if event["type"] == "websocket.disconnect":
            raise _GoneError
        try:
            return frames.parse(event.get("text"), limit=limit)
        except FrameInvalidError as error:
            await self.line.reply(frames.Error(error.code, str(error)))
            if conversation is not None:
                await conversation.hear_wrongly(event.get("text"), error)
            raise LeaveError(CloseCode.BAD_FRAME) from None

    async def _watch(self, conversation: Conversation) -> None:
        limits = self.limits
        authorised_at = self._loop.time()
        while True:
            await asyncio.sleep(limits.watch_seconds)
            now = self._loop.time()
            if self.line.stalled() > limits.slow_seconds:
                raise LeaveError(CloseCode.TOO_SLOW)
            if self._heard_at is not None and now - self._heard_at > SILENT_PINGS * limits.ping_seconds:
                raise LeaveError(CloseCode.NO_PONG)
            if now - authorised_at >= limits.reauthorise_seconds:
                authorised_at = now
                try:
                    await conversation.reauthorise()
                except Error as error:
                    log.warning("A client's rights could not be read; again soon.", error=str(error))


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    nested = ([error] if not isinstance(error, BaseExceptionGroup) else _leaves(error) for error in group.exceptions)
    return [error for errors in nested for error in errors]
