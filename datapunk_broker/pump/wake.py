"""Wake the pumps of this process, and stop them; those of others poll."""

import os
import threading
from collections import defaultdict

stopping = threading.Event()
"""Set to let every pump of this process end after the call that it is in; what it has not started it hands back."""

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
