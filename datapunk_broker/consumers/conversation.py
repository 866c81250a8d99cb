"""Do what a known client asks for, frame by frame."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django.db import Error

from datapunk_broker import frames, rights
from datapunk_broker.consumers import asking
from datapunk_broker.consumers.hub import DrainingError, Hub
from datapunk_broker.consumers.identity import Identity, by_token
from datapunk_broker.consumers.limits import Limits
from datapunk_broker.consumers.line import LeaveError, Line
from datapunk_broker.consumers.readers import PullReader, Reader, reader_of
from datapunk_broker.consumers.threads import in_database
from datapunk_broker.exceptions import BrokerError, PermissionDeniedError
from datapunk_broker.frames import CloseCode
from datapunk_broker.observability.logs import get_logger
from datapunk_broker.rights import Action, Somebody

MOST_PUBLISHES = 4
"""That wait for the database; then nothing more is read from the client."""

AGAIN = 1.0
"""Seconds after which a client may try again what the database could not do."""

log = get_logger("consumers")

Handle = Callable[[Any], Awaitable[None]]


class Conversation:
    """A client, what it reads, and what it may."""

    def __init__(self, identity: Identity, line: Line, hub: Hub, limits: Limits, tasks: asyncio.TaskGroup) -> None:
        self.identity, self.line, self.hub, self.limits, self.tasks = identity, line, hub, limits, tasks
        self.readers: dict[frames.Id, tuple[Reader, asyncio.Task[None]]] = {}
        self._may_publish: set[str] = set()
        self._publishes: asyncio.Queue[frames.Publish] | None = None
        self._handles: Mapping[type, Handle] = {
            frames.Hello: self._on_hello,
            frames.Subscribe: self._on_subscribe,
            frames.Unsubscribe: self._on_unsubscribe,
            frames.GrantCredit: self._on_credit,
            frames.Ack: self._on_settle,
            frames.Nack: self._on_settle,
            frames.Extend: self._on_settle,
            frames.Publish: self._on_publish,
            frames.Ping: self._on_ping,
        }

    @property
    def user(self) -> Somebody:
        """Who it is."""
        return self.identity.user

    async def send(self, text: str) -> None:
        """Send a frame of a subscription."""
        await self.line.send(text)

    async def hear(self, frame: frames.AnyClientFrame) -> None:
        """Do what one frame asks."""
        await self._handles[type(frame)](frame)

    async def hear_wrongly(self, text: str | None, error: frames.FrameInvalidError) -> None:
        """Tell of a publish that no frame could be made of."""
        topic = frames.topic_of_publish(text, limit=self.limits.largest_frame)
        if topic is not None:
            await in_database(asking.announce_refusal, self.user, topic, error)

    async def reauthorise(self) -> None:
        """End what the client may not read any more, and with it the connection."""
        before = self.identity
        identity = await in_database(before.again)
        if self.identity is not before:
            return  # it said who it is meanwhile
        if identity is None:
            raise LeaveError(CloseCode.RIGHTS_CHANGED)
        await self._become(identity)

    async def _become(self, identity: Identity) -> None:
        self.identity, self._may_publish = identity, set()
        topics = {reader.topic for reader, _ in self.readers.values() if reader.topic is not None}
        lost = await in_database(_refused, identity.user, topics)
        sids = [sid for sid, (reader, _) in self.readers.items() if reader.topic in lost]
        for sid in sids:
            await self._end(sid)
            await self.line.reply(frames.Unsubscribed(sid, PermissionDeniedError.code))
        if sids:
            raise LeaveError(CloseCode.RIGHTS_CHANGED)

    async def _on_hello(self, frame: frames.Hello) -> None:
        if frame.token is None:
            return
        identity = await in_database(by_token, frame.token)
        if identity is None:
            raise LeaveError(CloseCode.BAD_TOKEN)
        await self._become(identity)

    async def _on_ping(self, _: frames.Ping) -> None:
        await self.line.reply(frames.Pong())

    async def _on_subscribe(self, frame: frames.Subscribe) -> None:
        if frame.sid in self.readers:
            await self._refuse("sid_taken", "A subscription has this sid already.", sid=frame.sid)
            return
        if len(self.readers) >= self.limits.subscriptions:
            raise LeaveError(CloseCode.TOO_MANY_SUBSCRIPTIONS)
        reader = reader_of(self, frame, self.limits.credit)
        self.readers[frame.sid] = reader, self.tasks.create_task(self._serve(reader))

    async def _serve(self, reader: Reader) -> None:
        sid = reader.wish.sid
        try:
            await reader.run()
        except DrainingError:
            self.readers.pop(sid, None)  # the goodbye says so
        except BrokerError as error:
            self.readers.pop(sid, None)
            has_begun = reader.topic is not None
            ended = frames.Unsubscribed(sid, error.code) if has_begun else asking.refusal(error, sid=sid)
            await self.line.reply(ended)

    async def _on_unsubscribe(self, frame: frames.Unsubscribe) -> None:
        if await self._end(frame.sid):
            await self.line.reply(frames.Unsubscribed(frame.sid, "requested"))
        else:
            await self._refuse_sid(frame.sid)

    async def _end(self, sid: frames.Id) -> bool:
        reader, task = self.readers.pop(sid, (None, None))
        if reader is None or task is None:
            return False
        task.cancel()
        await asyncio.wait({task})
        return True

    async def _on_credit(self, frame: frames.GrantCredit) -> None:
        reader, _ = self.readers.get(frame.sid, (None, None))
        if reader is None:
            await self._refuse_sid(frame.sid)
        else:
            reader.credit.grant(frame.limit)

    async def _on_settle(self, frame: asking.Settling) -> None:
        reader, _ = self.readers.get(frame.sid, (None, None))
        if not isinstance(reader, PullReader) or reader.topic is None:
            await self._refuse_sid(frame.sid)
            return
        try:
            await in_database(asking.settle, reader.name, frame)
        except BrokerError as error:
            await self.line.reply(asking.refusal(error, sid=frame.sid))
        except Error as error:
            await self._apologise(error, sid=frame.sid)

    async def _on_publish(self, frame: frames.Publish) -> None:
        if self._publishes is None:
            self._publishes = asyncio.Queue(MOST_PUBLISHES)
            self.tasks.create_task(self._publish_on(self._publishes))
        await self._publishes.put(frame)

    async def _publish_on(self, wishes: asyncio.Queue[frames.Publish]) -> None:
        while True:
            wish = await wishes.get()
            try:
                receipt = await in_database(asking.publish, self.user, wish, self._may_publish)
            except BrokerError as error:
                await self.line.reply(asking.refusal(error, id=wish.id))
            except Error as error:
                await self._apologise(error, id=wish.id)
            else:
                await self.line.reply(frames.Published(wish.id, str(receipt.message_id), receipt.duplicate))

    async def _apologise(self, error: Error, **names: frames.Id) -> None:
        log.warning("The database did not do what a client asked.", error=str(error))
        await self._refuse("unavailable", "The database is not available. Try again.", retry_after=AGAIN, **names)

    async def _refuse_sid(self, sid: frames.Id) -> None:
        await self._refuse("sid_unknown", "No subscription of this socket has this sid and takes that.", sid=sid)

    async def _refuse(self, code: str, detail: str, **more: Any) -> None:
        await self.line.reply(frames.Error(code, detail, **more))


def _refused(user: Somebody, topics: set[str]) -> set[str]:
    return {topic for topic in topics if not rights.may(user, Action.SUBSCRIBE, topic)}
