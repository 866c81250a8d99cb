"""What a socket is subscribed to: a task each, which sends what its client granted credit for."""

import asyncio
from typing import Protocol

from datapunk_broker import broker, frames
from datapunk_broker.broker import Received
from datapunk_broker.consumers.credit import Credit
from datapunk_broker.consumers.cursor import Break, Cursor, Notice
from datapunk_broker.consumers.hub import Hub
from datapunk_broker.consumers.items import of_received
from datapunk_broker.consumers.limits import FRAME_BYTES
from datapunk_broker.consumers.threads import in_database
from datapunk_broker.consumers.topics import start_of, topic_of_pull
from datapunk_broker.rights import Somebody

FIRST_PULL, LARGEST_PULL = 10, 100
SOONEST, LATEST = 0.05, 1.0
"""Seconds until an empty subscription is looked at again without being rung for: from the first to the last."""


class Socket(Protocol):
    """What a reader knows of its socket."""

    hub: Hub

    @property
    def user(self) -> Somebody:
        """Who it is."""

    async def send(self, text: str) -> None:
        """Send a frame, when the client takes it."""


class Reader:
    """One subscription of one socket. topic: whose right it needs, known once it has begun."""

    def __init__(self, socket: Socket, wish: frames.Subscribe, window: int) -> None:
        self.socket, self.wish = socket, wish
        self.credit = Credit(wish.credit, window)
        self.topic: str | None = None

    async def run(self) -> None:
        """Send until cancelled; raises BrokerError for what cannot be read (any more)."""
        raise NotImplementedError

    async def say(self, frame: frames.ServerFrame) -> None:
        """Send a frame of the protocol."""
        await self.socket.send(frames.write(frame))

    async def deliver(self, placed: list[str]) -> None:
        """Send messages and count them."""
        self.credit.spend(len(placed))
        await self.socket.send(frames.write_messages(self.wish.sid, placed))


class StreamReader(Reader):
    """Reads a topic as its messages come."""

    async def run(self) -> None:
        start = await in_database(start_of, self.socket.user, self.wish)
        self.topic = start.topic.name
        hub, sid = self.socket.hub, self.wish.sid
        feed = hub.join(self.topic, start.head or 0, is_kept=start.topic.is_kept)
        try:
            position = start.position if feed.is_kept else feed.head
            end = feed.head if start.head is None else start.head
            await self.say(frames.Subscribed(sid, start.oldest, start.head))
            await self._follow(Cursor(feed, start.filter, position, end))
        finally:
            hub.leave(feed)

    async def _follow(self, cursor: Cursor) -> None:
        sid = self.wish.sid
        while True:
            found = await cursor.next(self.credit.left)
            if isinstance(found, Break):
                await self.say(frames.Reset(sid, found.reason, found.oldest, found.head))
            elif found is Notice.CAUGHT_UP:
                await self.say(frames.CaughtUp(sid))
            elif isinstance(found, list) and found:
                await self.deliver(found)
            else:
                await self.credit.some()


class PullReader(Reader):
    """Takes the messages of a durable pull subscription, which its client acks."""

    name = ""
    _fits = FIRST_PULL

    async def run(self) -> None:
        self.name = self.wish.subscription or ""
        self.topic = await in_database(topic_of_pull, self.socket.user, self.name)
        bell = asyncio.Event()
        self.socket.hub.hang(self.topic, bell)
        try:
            await self.say(frames.Subscribed(self.wish.sid, None, None))
            await self._pull_on(bell)
        finally:
            self.socket.hub.unhang(self.topic, bell)

    async def _pull_on(self, bell: asyncio.Event) -> None:
        patience = SOONEST
        while True:
            count = min(await self.credit.some(), self._fits)
            bell.clear()
            if pulled := await self._pull(count):
                patience = SOONEST
                await self._hand_over(pulled)
                continue
            try:
                async with asyncio.timeout(patience):
                    await bell.wait()
            except TimeoutError:
                patience = min(LATEST, 2 * patience)

    async def _pull(self, count: int) -> list[Received[object]]:
        """Claim messages; those claimed for a socket that went away meanwhile are handed back."""
        pulling = asyncio.ensure_future(in_database(broker.pull, self.name, count))
        try:
            return await asyncio.shield(pulling)
        except asyncio.CancelledError:
            await asyncio.wait({pulling})
            await self._release([] if pulling.exception() else pulling.result())
            raise

    async def _hand_over(self, pulled: list[Received[object]]) -> None:
        texts = [of_received(message) for message in pulled]
        self._fits = min(LARGEST_PULL, max(1, FRAME_BYTES * len(texts) // max(1, sum(map(len, texts)))))
        try:
            await self.deliver([frames.place(None, None, text) for text in texts])
        except (asyncio.CancelledError, OSError):
            await self._release(pulled)
            raise

    async def _release(self, pulled: list[Received[object]]) -> None:
        if pulled:
            await in_database(broker.release, [message.ack_id for message in pulled], subscription=self.name)


def reader_of(socket: Socket, wish: frames.Subscribe, window: int) -> Reader:
    """Return what serves a subscribe."""
    kind = StreamReader if wish.topic is not None else PullReader
    return kind(socket, wish, window)
