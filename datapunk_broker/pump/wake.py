"""Wake the pumps of this process, and stop them; those of others poll."""

import mmap
import os
import threading
from collections import defaultdict


class Flag:
    """Is seen by the children that this process forks, too; without a lock, which one that is killed might hold."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 1)

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._shared[0] == 1

    def set(self) -> None:
        """Set it."""
        self._shared[0] = 1

    def clear(self) -> None:
        """Take it back."""
        self._shared[0] = 0


stopping = Flag()
"""Lets every pump of this process and its children end after the call it is in; what it has not started it hands back.
"""

_bells: dict[str, threading.Event] = defaultdict(threading.Event)
os.register_at_fork(after_in_child=_bells.clear)  # whoever held a bell's lock is not in the child


def wake(transport: str) -> None:
    """Let a pump of this transport that waits in this process go on at once."""
    _bells[transport].set()


def wait(transport: str, seconds: float) -> bool:
    """Wait for ``wake`` or so many seconds; return whether it was ``wake``."""
    bell = _bells[transport]
    woken = bell.wait(seconds)
    bell.clear()
    return woken
