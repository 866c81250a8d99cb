"""Hear what this process and others tell of the topics that somebody here reads."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from datapunk_broker import signals
from datapunk_broker.consumers.hints import LIVE, group_of, origin, shared_layer
from datapunk_broker.observability.logs import get_logger
from datapunk_broker.states import Transport

AGAIN = 1.0
"""Seconds from one look at the channel layer to the next while it fails."""

REJOIN_EVERY = 3_600.0
"""Seconds after which groups are joined again: some channel layers forget their members after a day."""

log = get_logger("hints")


class Listener(Protocol):
    """Who wants to know; called in its own loop."""

    def grew(self, topic: str, head: int) -> None:
        """The topic's stream ends at ``head`` or later."""

    def has_work(self, topic: str) -> None:
        """There may be something to pull."""

    def came(self, topic: str, message: Mapping[str, Any]) -> None:
        """A message that is stored nowhere."""

    def missed(self) -> None:
        """Something may have been told before it was heard."""


class Hearing:
    """Passes hints on to a listener: this process's own by signal, those of others through the channel layer."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._wanted: set[str] = set()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, topic: str) -> None:
        """Hear of this topic, soon."""
        if not self._wanted:
            signals.appended.connect(self._on_appended)
            signals.published.connect(self._on_published)
            signals.published_live.connect(self._on_published_live)
        self._wanted.add(topic)
        self._changed.set()
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._keep_hearing())

    def remove(self, topic: str) -> None:
        """Hear of this topic no more."""
        self._wanted.discard(topic)
        self._changed.set()
        if not self._wanted:
            signals.appended.disconnect(self._on_appended)
            signals.published.disconnect(self._on_published)
            signals.published_live.disconnect(self._on_published_live)

    def _on_appended(self, topic: str, head: int, **_: Any) -> None:
        self._soon(self._listener.grew, topic, head)

    def _on_published(self, topic: str, transports: frozenset[str], **_: Any) -> None:
        if Transport.PULL in transports:
            self._soon(self._listener.has_work, topic)

    def _on_published_live(self, topic: str, messages: tuple[Mapping[str, Any], ...], **_: Any) -> None:
        for message in messages:
            self._soon(self._listener.came, topic, message)

    def _soon(self, tell: Callable[..., None], topic: str, *news: Any) -> None:
        if topic in self._wanted and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(tell, topic, *news)

    async def _keep_hearing(self) -> None:
        # It ends by itself, when nothing is wanted: a cancellation can get lost in the clients of Redis.
        layer = shared_layer()
        complained = False
        while self._wanted and layer is not None:
            try:
                await self._hear(layer)
            except Exception as error:  # noqa: BLE001 - whatever a channel layer raises, readers look by themselves
                if not complained:
                    log.warning("The channel layer gives no hints; readers look by themselves.", error=repr(error))
                complained = True
                await asyncio.sleep(AGAIN)

    async def _hear(self, layer: Any) -> None:
        channel = await layer.new_channel()
        joined: dict[str, float] = {}
        hearing = asyncio.ensure_future(layer.receive(channel))
        try:
            while self._wanted:
                await self._join(layer, channel, joined)
                changed = asyncio.ensure_future(self._changed.wait())
                await asyncio.wait({hearing, changed}, timeout=REJOIN_EVERY, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                if hearing.done():
                    self._pass_on(hearing.result())
                    hearing = asyncio.ensure_future(layer.receive(channel))
        finally:
            hearing.cancel()
            leaving = (layer.group_discard(group_of(topic), channel) for topic in joined)
            await asyncio.gather(hearing, *leaving, return_exceptions=True)

    async def _join(self, layer: Any, channel: str, joined: dict[str, float]) -> None:
        self._changed.clear()
        now = self._loop.time()
        due = [topic for topic in self._wanted if topic not in joined or now - joined[topic] >= REJOIN_EVERY]
        for topic in due:
            await layer.group_add(group_of(topic), channel)
            joined[topic] = now
        if due:
            self._listener.missed()
        for topic in joined.keys() - self._wanted:
            await layer.group_discard(group_of(topic), channel)
            del joined[topic]

    def _pass_on(self, message: Mapping[str, Any]) -> None:
        topic = message["topic"]
        if message["origin"] == origin() or topic not in self._wanted:
            return
        if message["type"] == LIVE:
            self._listener.came(topic, message["message"])
            return
        if "head" in message:
            self._listener.grew(topic, message["head"])
        if "pull" in message:
            self._listener.has_work(topic)
