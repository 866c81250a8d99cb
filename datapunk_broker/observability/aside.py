"""Do a piece of work in a thread of its own, one at a time, and wait for it no longer than one wants to."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from django.db import connections

T = TypeVar("T")

ABANDONED_AFTER = 60.0
"""Seconds after which work that hangs is begun again in another thread."""


class Aside(Generic[T]):
    """Work that may hang, because a server does. It has database connections of its own, closed when it is done.

    Whoever asks while it is under way waits for the same result.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._running: Future[T] | None = None
        self._started_at = 0.0
        self._lock = threading.Lock()
        _everywhere.add(self)

    def start(self) -> "Future[T]":
        """Start it, unless it is under way; return what it will come to."""
        with self._lock:
            now = time.monotonic()
            if self._running is None or self._running.done() or now - self._started_at > ABANDONED_AFTER:
                self._running, self._started_at = Future(), now
                threading.Thread(target=_run, args=(self._work, self._running), daemon=True).start()
            return self._running

    def result(self, within: float) -> T:
        """Return its result, or raise its error; a TimeoutError when it has not come after these seconds."""
        return self.start().result(within)

    def begin_anew(self) -> None:
        """Forget what is under way: a child process has inherited neither the thread nor whoever holds the lock."""
        self._lock = threading.Lock()
        self._running = None


def _run(work: Callable[[], T], running: "Future[T]") -> None:
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
        connections.close_all()
        running.set_exception(error)
    else:
        connections.close_all()
        running.set_result(result)


def _begin_anew() -> None:
    for aside in _everywhere:
        aside.begin_anew()


_everywhere: "WeakSet[Aside[Any]]" = WeakSet()
os.register_at_fork(after_in_child=_begin_anew)
