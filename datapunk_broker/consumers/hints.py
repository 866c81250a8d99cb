"""What processes tell each other of topics through the channel layer: hints, which may be lost without harm.

"A topic's stream grew" and "there is something to pull" only wake readers sooner than they would look by themselves.
The messages of topics that store nothing ride here as well, at most once.
"""

import asyncio
import hashlib
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import uuid4

from channels.layers import InMemoryChannelLayer, get_channel_layer

from datapunk_broker.conf import get_config
from datapunk_broker.observability.logs import get_logger

HINT_EVERY = 0.02
"""Seconds between two hints about one topic from one process."""

GIVE_UP = 2.0
"""Seconds that the channel layer has to take one."""

MOST_LIVE = 1_000
"""Messages that wait for the channel layer at most; the oldest goes."""

COMPLAIN_EVERY = 30.0
"""Seconds between two lines in the log about the same trouble."""

HINT, LIVE = "broker.hint", "broker.live"

log = get_logger("hints")

_process: dict[str, str] = {}


def origin() -> str:
    """Return what names this process: it needs no hints from itself."""
    return _process.setdefault("origin", uuid4().hex)


def group_of(topic: str) -> str:
    """Return the channel group of a topic; names of groups are short and plain, those of topics need not be."""
    return f"datapunk-broker.{hashlib.sha256(f'{get_config().database}:{topic}'.encode()).hexdigest()[:32]}"


def shared_layer() -> Any:
    """Return the channel layer if it reaches other processes, else None."""
    layer = get_channel_layer()
    return None if isinstance(layer, InMemoryChannelLayer) else layer


class Herald:
    """Tells other processes, from a thread with a loop of its own, so that whoever publishes waits for nothing."""

    _thread: threading.Thread | None

    def __init__(self) -> None:
        self._start_anew()

    def _start_anew(self) -> None:
        self._lock = threading.Lock()
        self._heads: dict[str, int] = {}
        self._pulls: set[str] = set()
        self._live: deque[tuple[str, Mapping[str, Any]]] = deque(maxlen=MOST_LIVE)
        self._thread = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news: asyncio.Event | None = None
        self._complained_at: dict[str, float] = {}

    def grew(self, topic: str, head: int) -> None:
        """Tell that a topic's stream ends at ``head`` now."""
        if shared_layer() is not None:
            with self._lock:
                self._heads[topic] = max(head, self._heads.get(topic, 0))
                self._wake()

    def has_work(self, topic: str) -> None:
        """Tell that there is something to pull from a topic's subscriptions."""
        if shared_layer() is not None:
            with self._lock:
                self._pulls.add(topic)
                self._wake()

    def live(self, topic: str, messages: Iterable[Mapping[str, Any]]) -> None:
        """Hand over messages that are stored nowhere."""
        if shared_layer() is None:
            return
        coming = [(topic, message) for message in messages]
        with self._lock:
            lost = max(0, len(self._live) + len(coming) - MOST_LIVE)
            self._live.extend(coming)
            self._wake()
        if lost:
            self._complain("Messages that are stored nowhere are lost: too many wait.", topic=topic, count=lost)

    def close(self, timeout: float | None = None) -> None:
        """Tell what is left to tell, for so many seconds at most; another thread begins when there is more."""
        with self._lock:
            thread = self._thread
            self._thread = None
            if thread is not None and self._loop is not None and self._news is not None:
                self._loop.call_soon_threadsafe(self._news.set)
        if thread is not None:
            thread.join(timeout)

    def after_fork(self) -> None:
        """Begin anew in a child process, which has inherited neither the thread nor whoever held the lock."""
        self._start_anew()
        _process.clear()

    def _wake(self) -> None:
        if self._thread is None:
            self._loop, self._news = asyncio.new_event_loop(), asyncio.Event()
            work = (self._loop, self._news)
            self._thread = threading.Thread(target=self._run, args=work, name="datapunk-hints", daemon=True)
            self._thread.start()
        if self._loop is not None and self._news is not None and not self._news.is_set():
            self._loop.call_soon_threadsafe(self._news.set)

    def _run(self, loop: asyncio.AbstractEventLoop, news: asyncio.Event) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._tell(news))
        finally:
            loop.close()

    def _take(self) -> list[tuple[str, dict[str, Any]]]:
        hints: dict[str, dict[str, Any]] = {topic: {"head": head} for topic, head in self._heads.items()}
        for topic in self._pulls:
            hints.setdefault(topic, {})["pull"] = True
        told = [(topic, {"type": HINT, "topic": topic, **hint}) for topic, hint in hints.items()]
        told += [(topic, {"type": LIVE, "topic": topic, "message": message}) for topic, message in self._live]
        self._heads, self._pulls = {}, set()
        self._live.clear()
        return told

    async def _tell(self, news: asyncio.Event) -> None:
        me, goes_on = threading.current_thread(), True
        while goes_on:
            await news.wait()
            news.clear()
            goes_on = self._thread is me
            with self._lock:
                told = self._take()
            for topic, message in told:
                await self._send(group_of(topic), {**message, "origin": origin()})
            if goes_on:
                await asyncio.sleep(HINT_EVERY)

    async def _send(self, group: str, message: Mapping[str, Any]) -> None:
        try:
            async with asyncio.timeout(GIVE_UP):
                await shared_layer().group_send(group, message)
        except Exception as error:  # noqa: BLE001 - whatever a channel layer raises, readers look by themselves
            self._complain("The channel layer takes no hints; readers look by themselves.", error=repr(error))

    def _complain(self, problem: str, **about: Any) -> None:
        if time.monotonic() - self._complained_at.get(problem, -COMPLAIN_EVERY) >= COMPLAIN_EVERY:
            self._complained_at[problem] = time.monotonic()
            log.warning(problem, **about)


herald = Herald()
"""This process's."""
