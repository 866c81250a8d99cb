"""One reader's place in a stream: what comes next, from memory where it is still there, else from the database."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from datapunk_broker import broker, frames
from datapunk_broker.consumers.feed import Feed
from datapunk_broker.consumers.filters import Filter
from datapunk_broker.consumers.items import Item, of_stream
from datapunk_broker.consumers.limits import FRAME_BYTES
from datapunk_broker.consumers.threads import in_database

READ = 500
"""Items looked at in one go."""

SIFTED_BYTES = 4 * FRAME_BYTES
"""Bytes read in one go by whoever wants only some of the messages."""

NOT_YET = 0.1
"""Seconds until the database is asked again for what it is said to have."""


class Notice(Enum):
    """What else a cursor comes upon."""

    CAUGHT_UP = "caught up"


@dataclass(frozen=True, slots=True)
class Break:
    """The history does not reach back to the reader's position; it goes on behind ``oldest - 1``."""

    reason: Literal["pruned", "ahead", "dropped"]
    oldest: int | None
    head: int | None


Next = list[str] | Break | Notice


@dataclass(slots=True)
class Cursor:
    """A place: everything up to ``position`` was looked at, ``previous`` is the last that the reader got.

    end: where the stream ended when the reader came; a position beyond it is of another stream.
    """

    feed: Feed
    filter: Filter | None
    position: int
    end: int
    previous: int = field(init=False)
    generation: int = field(init=False)
    caught_up: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.previous = self.position
        self.generation = self.feed.generation if self.position <= self.end else -1

    async def next(self, limit: int) -> Next:
        """Return up to ``limit`` messages, as soon as there is one, or what stands in their way.

        With a limit of 0 it returns an empty list when a message is there. Raises what ended the feed.
        """
        feed = self.feed
        while True:
            if feed.failure is not None:
                raise feed.failure.with_traceback(None)
            if feed.generation != self.generation:
                return await self._begin_anew()
            if self.position >= feed.head:
                if not self.caught_up and self.position >= self.end:
                    self.caught_up = True
                    return Notice.CAUGHT_UP
                # No await stands between the look at the head and this wait: nothing comes in between.
                await feed.change()
                continue
            if limit <= 0 and self.filter is None:
                return []
            found = await self._look(limit)
            if found is not None:
                return found

    async def _look(self, limit: int) -> Next | None:
        ring = self.feed.ring
        if self.position >= ring.start:
            return self._pass(ring.after(self.position, READ), limit)
        if not self.feed.is_kept:
            return self._break("dropped", ring.start + 1, ring.head)
        count, size = (min(READ, limit), FRAME_BYTES) if self.filter is None else (READ, SIFTED_BYTES)
        page = await in_database(broker.read_stream, self.feed.topic, self.position, count, max_bytes=size)
        if self.position + 1 < page.oldest:
            return self._break("pruned", page.oldest, page.head)
        if page.head < self.position:
            return await self._begin_anew()
        if not page.messages:
            await asyncio.sleep(NOT_YET)
        return self._pass([of_stream(message) for message in page.messages], limit)

    def _pass(self, items: Sequence[Item], limit: int) -> list[str] | None:
        """Go over items to the last that fits, and return those that are wanted; None when none is."""
        wanted: list[str] = []
        size = 0
        for item in items:
            if self.filter is None or self.filter.takes(item):
                size += item.size
                if len(wanted) >= limit or (wanted and size > FRAME_BYTES):
                    return wanted
                wanted.append(self._placed(item))
                self.previous = item.position
            self.position = item.position
        return wanted or None

    def _placed(self, item: Item) -> str:
        if not self.feed.is_kept:
            return frames.place(None, None, item.text)
        return frames.place(item.position, self.previous, item.text)

    async def _begin_anew(self) -> Break:
        generation = self.feed.generation
        ends = await in_database(broker.stream_ends, self.feed.topic)
        self.generation = generation  # not before: a look that is cut short is begun anew
        return self._break("ahead", ends.oldest, ends.head)

    def _break(self, reason: Literal["pruned", "ahead", "dropped"], oldest: int, head: int) -> Break:
        self.position = self.previous = oldest - 1
        if not self.feed.is_kept:
            return Break(reason, None, None)
        self.end, self.caught_up = head, False
        return Break(reason, oldest, head)
