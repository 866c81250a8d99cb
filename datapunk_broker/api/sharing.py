"""Do once what many ask for at the same time."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Work that costs much, done by one at a time; who waited for it meanwhile shares what it then came to.

    A result is only for whoever asked before it was begun, so that nobody is told what was true earlier.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._done: tuple[float, T] | None = None

    def get(self) -> T:
        """Return a result that was begun no earlier than now."""
        asked_at = time.monotonic()
        with self._lock:
            if self._done is None or self._done[0] < asked_at:
                began_at = time.monotonic()
                self._done = began_at, self._work()
            return self._done[1]
