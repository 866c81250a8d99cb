"""Call an asynchronous function for many messages at once."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.db import Error

from datapunk_broker.envelope import Received
from datapunk_broker.transports.base import Errand, Outcome, Report
from datapunk_broker.transports.connections import mend
from datapunk_broker.transports.loop import Function, run, unless_cancelled
from datapunk_broker.transports.order import HeldBack
from datapunk_broker.transports.verdict import VERDICTS, verdict_of

CONCURRENCY = 100
"""How many calls are under way at once in one pump, unless less are wanted."""

REPORT_EVERY = 0.1
"""Seconds that an outcome waits at most, while other calls are under way, until it is reported."""

Message = Received[Any]


class Calls:
    """The calls of one errand; those of one ordering key one after the other, in their order.

    function: ends within the errand's timeout.
    """

    def __init__(self, function: Function, errand: Errand, report: Report, concurrency: int = CONCURRENCY) -> None:
        self.function, self.errand, self.report = function, errand, report
        self._room = asyncio.Semaphore(1 if errand.one_at_a_time else concurrency)
        self._held_back = HeldBack(errand)
        self._known: deque[Outcome] = deque()
        self._under_way: dict[str, None] = {}

    def run(self) -> None:
        """Make the calls and report their outcomes."""
        try:
            run(self._make)
        except BaseException:
            self._tell()
            for ack_id in list(self._under_way):
                self.report(Outcome(ack_id, interrupted=True))
            raise
        self._tell()

    async def _make(self) -> None:
        lanes = [asyncio.create_task(self._go_through(lane)) for lane in self._lanes()]
        pending = set(lanes)
        try:
            while pending:
                _, pending = await asyncio.wait(pending, timeout=REPORT_EVERY)
                if pending and self._known:
                    await sync_to_async(self._tell)()
            for lane in lanes:
                lane.result()
        finally:
            for lane in lanes:
                lane.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)

    def _lanes(self) -> list[list[Message]]:
        lanes: dict[object, list[Message]] = {}
        for message in self.errand.messages:
            key = message.ordering_key if self.errand.ordered else None
            lanes.setdefault(message.ack_id if key is None else ("key", key), []).append(message)
        return list(lanes.values())

    async def _go_through(self, lane: Sequence[Message]) -> None:
        for message in lane:
            async with self._room:
                if self._held_back.waits(message) or not self.errand.fits():
                    self._known.append(Outcome(message.ack_id, started=False))
                    continue
                self._under_way[message.ack_id] = None
                outcome = await self._call(message)
                self._known.append(self._held_back.judge(message, outcome))
                del self._under_way[message.ack_id]

    async def _call(self, message: Message) -> Outcome:
        try:
            reply = await self.function(message)
        except VERDICTS as error:
            unless_cancelled(error)
            if isinstance(error, Error):
                await sync_to_async(mend)()
            return Outcome(message.ack_id, verdict_of(error))
        return Outcome(message.ack_id, reply=reply)

    def _tell(self) -> None:
        """Report what is known; in the pump's thread."""
        while self._known:
            self.report(self._known.popleft())
