"""Read a topic's stream for every reader of this process: once from the database, then from memory."""

import asyncio
from collections.abc import Mapping
from typing import Any

from django.db import Error

from datapunk_broker import broker
from datapunk_broker.consumers.items import of_stream, of_wire
from datapunk_broker.consumers.ring import Ring
from datapunk_broker.consumers.threads import for_feeds
from datapunk_broker.exceptions import BrokerError
from datapunk_broker.observability.logs import get_logger

BATCH, BATCH_BYTES = 500, 1024 * 1024
AGAIN = 1.0
"""Seconds after a database error."""

log = get_logger("consumers")


class Feed:
    """A topic's news. is_kept: it has positions; the messages of a topic that stores nothing have places here alone.

    known: the last position that is said to exist. generation: counts how often the stream began anew.
    failure: why nothing comes any more. readers: how many there are.
    """

    def __init__(self, topic: str, *, head: int, is_kept: bool) -> None:
        self.topic, self.is_kept = topic, is_kept
        self.stream: int | None = None
        self.ring = Ring(head)
        self.known = head
        self.generation = 0
        self.failure: BrokerError | None = None
        self.readers = 0
        self._waiting: set[asyncio.Future[None]] = set()
        self._grown = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._read_on()) if is_kept else None

    @property
    def head(self) -> int:
        """The last position that was read."""
        return self.ring.head

    def grew(self, head: int) -> None:
        """Read on, if there is more than was read."""
        self.known = max(self.known, head)
        if self.known > self.head:
            self._grown.set()

    def looked(self, stream: int, head: int, before: tuple[int, int]) -> None:
        """Take in which stream it is and where it was found to end; ``before``: head and known when the look began."""
        is_another = self.stream not in (None, stream)
        self.stream = stream
        if is_another or head < before[0]:
            self.restart(head)
        elif head < before[1] == self.known:
            self.known = max(head, self.head)
        else:
            self.grew(head)

    def came(self, wire: Mapping[str, Any]) -> None:
        """Take in a message that is stored nowhere."""
        self.ring.append(of_wire(self.head + 1, wire))
        self._changed()

    def restart(self, head: int) -> None:
        """Begin anew with a stream that is not the one read so far."""
        self.generation += 1
        self.ring, self.known = Ring(head), head
        self._changed()

    def fail(self, failure: BrokerError) -> None:
        """Tell every reader that nothing comes any more."""
        self.failure = failure
        self._changed()

    def close(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()

    async def change(self) -> None:
        """Wait until there is something new."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)

    def _changed(self) -> None:
        self.ring.trim()
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def _read_on(self) -> None:
        while True:
            await self._grown.wait()
            self._grown.clear()
            try:
                await self._catch_up()
            except BrokerError as error:
                self.fail(error)
            except Error as error:
                log.warning("A stream could not be read; again soon.", topic=self.topic, error=str(error))
                await self._try_again()
            except Exception:
                log.exception("A stream could not be read; again soon.", topic=self.topic)
                await self._try_again()

    async def _try_again(self) -> None:
        await asyncio.sleep(AGAIN)
        self._grown.set()

    async def _catch_up(self) -> None:
        while self.known > self.head:
            ring = self.ring
            page = await for_feeds(broker.read_stream, self.topic, ring.head, BATCH, max_bytes=BATCH_BYTES)
            if ring is not self.ring:
                continue
            for message in page.messages:
                ring.append(of_stream(message))
            self._changed()
            if not page.messages:
                self._skip_to(page.head)
                return

    def _skip_to(self, head: int) -> None:
        # What was said to exist is gone already, or not there yet for this connection.
        if head >= self.known:
            self.ring = Ring(head)
            self._changed()
