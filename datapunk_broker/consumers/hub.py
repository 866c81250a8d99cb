"""What the connections of one process share: the feeds, the bells of those who pull, and the end of it all."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from django.db import Error

from datapunk_broker import broker
from datapunk_broker.consumers.feed import Feed
from datapunk_broker.consumers.hearing import Hearing
from datapunk_broker.consumers.threads import for_feeds
from datapunk_broker.consumers.topics import Found, find
from datapunk_broker.exceptions import BrokerError, ConfigInvalidError
from datapunk_broker.observability.logs import get_logger
from datapunk_broker.observability.process import websocket_closed, websocket_opened

LOOK_EVERY = 1.0
"""Seconds between looks at the heads of all streams that are read here, for hints may be lost."""

log = get_logger("consumers")


class DrainingError(BrokerError):
    """The server is about to end."""

    code = "draining"

    def __init__(self) -> None:
        super().__init__("The server is about to end. Come again.")


class Leaving(Protocol):
    """A connection that can be told to leave."""

    async def leave(self) -> None:
        """Say goodbye and close."""


class Hub:
    """One process's (one event loop's) share of every topic that is read here."""

    def __init__(self) -> None:
        self.feeds: dict[str, Feed] = {}
        self.connections: set[Leaving] = set()
        self.draining = False
        self._hearing = Hearing(self)
        self._bells: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._look: asyncio.Task[None] | None = None
        self._look_now = asyncio.Event()

    def enter(self, connection: Leaving) -> None:
        """Count a connection in."""
        self.connections.add(connection)
        websocket_opened()

    def exit(self, connection: Leaving) -> None:
        """Count it out."""
        self.connections.discard(connection)
        websocket_closed()

    def join(self, topic: str, head: int, *, is_kept: bool) -> Feed:
        """Return a topic's feed for one more reader; a new one begins behind ``head``."""
        feed = self.feeds.get(topic)
        if feed is None or feed.is_kept != is_kept or feed.failure is not None:
            feed = self.feeds[topic] = Feed(topic, head=head, is_kept=is_kept)
            self._attend(topic)
        if self.draining:
            feed.fail(DrainingError())
        feed.readers += 1
        feed.grew(head)
        return feed

    def leave(self, feed: Feed) -> None:
        """Let a reader go, and with the last one the feed."""
        feed.readers -= 1
        if not feed.readers:
            feed.close()
            if self.feeds.get(feed.topic) is feed:
                del self.feeds[feed.topic]
                self._neglect(feed.topic)

    def hang(self, topic: str, bell: asyncio.Event) -> None:
        """Ring this bell when there may be something to pull from a topic's subscriptions."""
        self._bells[topic].add(bell)
        self._attend(topic)

    def unhang(self, topic: str, bell: asyncio.Event) -> None:
        """Ring it no more."""
        self._bells[topic].discard(bell)
        if not self._bells[topic]:
            del self._bells[topic]
            self._neglect(topic)

    async def drain(self) -> None:
        """Let every connection leave, and none come."""
        self.draining = True
        for feed in self.feeds.values():
            feed.fail(DrainingError())
        await asyncio.gather(*(connection.leave() for connection in [*self.connections]))

    def grew(self, topic: str, head: int) -> None:
        """Pass on that a stream grew."""
        if feed := self.feeds.get(topic):
            feed.grew(head)

    def has_work(self, topic: str) -> None:
        """Ring the bells of those who pull from a topic."""
        for bell in self._bells.get(topic, ()):
            bell.set()

    def came(self, topic: str, message: Mapping[str, Any]) -> None:
        """Pass a message on that is stored nowhere."""
        feed = self.feeds.get(topic)
        if feed is not None and not feed.is_kept:
            feed.came(message)

    def missed(self) -> None:
        """Look at the heads at once."""
        self._look_now.set()

    def _attend(self, topic: str) -> None:
        self._hearing.add(topic)
        if self._look is None:
            self._look = asyncio.get_running_loop().create_task(self._look_on())

    def _neglect(self, topic: str) -> None:
        if topic not in self.feeds and topic not in self._bells:
            self._hearing.remove(topic)
        if not self.feeds and not self._bells and self._look is not None:
            self._look.cancel()
            self._look = None

    async def _look_on(self) -> None:
        while True:
            self._look_now.clear()
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    await self._look_now.wait()
            except TimeoutError:
                pass
            try:
                await self._look_around()
            except Error as error:
                log.warning("The heads of the streams could not be read; again soon.", error=str(error))
            except Exception:
                log.exception("The heads of the streams could not be read; again soon.")

    async def _look_around(self) -> None:
        feeds = dict(self.feeds)
        before = {topic: (feed.head, feed.known) for topic, feed in feeds.items()}
        if not feeds:
            return
        heads = await for_feeds(broker.stream_heads, list(feeds))
        for topic, feed in feeds.items():
            if feed.is_kept and topic in heads:
                feed.looked(heads[topic].stream, heads[topic].position, before[topic])
            elif feed.failure is None:
                await self._look_closer(feed)

    async def _look_closer(self, feed: Feed) -> None:
        try:
            found: Found = await for_feeds(find, feed.topic)
        except BrokerError as error:
            feed.fail(error)
            return
        if found.is_kept != feed.is_kept:
            feed.fail(ConfigInvalidError("persistent", f"of {feed.topic!r} was changed: subscribe again"))


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def the_hub() -> Hub:
    """Return the hub of the running loop."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]
