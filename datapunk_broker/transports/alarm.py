"""Stop a synchronous handler that runs too long, where that is possible: in a process's main thread."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from datapunk_broker.exceptions import HandlerTimeoutError

SOON = 1e-3
"""Seconds: a timer of somebody else's that should have rung meanwhile rings then."""


class _TimeUp(KeyboardInterrupt):
    """What is raised into the handler.

    A KeyboardInterrupt, because psycopg cancels the running query for that (for any other exception the
    connection would be left in the middle of a statement), and because ``except Exception`` does not swallow it.
    """


class Alarm:
    """Raises HandlerTimeoutError into the main thread; elsewhere it does nothing, and only the lease fences."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._armed = False

    @classmethod
    @contextmanager
    def installed(cls, seconds: float) -> Iterator["Alarm"]:
        """Take SIGALRM and its timer for the while of some calls, and give them back as they were."""
        alarm = cls(seconds)
        if not cls.works_here():
            yield alarm
            return
        left, interval = signal.setitimer(signal.ITIMER_REAL, 0)
        before, began = signal.signal(signal.SIGALRM, alarm._ring), time.monotonic()
        try:
            yield alarm
        finally:
            signal.signal(signal.SIGALRM, signal.SIG_DFL if before is None else before)
            if left:
                signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - began), SOON), interval)

    @staticmethod
    def works_here() -> bool:
        """Return whether this thread can be interrupted."""
        return hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()

    def call(self, function: Callable[[Any], Any], argument: Any) -> Any:
        """Call a function, and interrupt it after the seconds; raises HandlerTimeoutError then."""
        if not self.works_here():
            return function(argument)
        # The signal may arrive at any instruction, hence no context manager: between a call's end and __exit__
        # nobody would catch what it raises.
        try:
            try:
                self._armed = True
                signal.setitimer(signal.ITIMER_REAL, self.seconds)
                return function(argument)
            finally:
                self._armed = False
                signal.setitimer(signal.ITIMER_REAL, 0)
        except _TimeUp as up:
            raise HandlerTimeoutError(self.seconds) from up

    def _ring(self, _signal: int, _frame: FrameType | None) -> None:
        if self._armed:
            raise _TimeUp
