"""After a commit, wake pumps and readers: throttled, in the background, and never an error of the publisher's."""

import atexit
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import connections

from datapunk_broker import signals, tasks
from datapunk_broker.consumers.hints import herald
from datapunk_broker.observability.logs import get_logger
from datapunk_broker.pump import wake
from datapunk_broker.states import Transport

RING_EVERY = 0.5
"""Seconds between two rings of a transport by one process. A pump lingers for longer, so it sees what comes between."""

MOST_WAITING = 1_000
"""How many messages that are stored nowhere wait for Celery's broker at most; the others are lost."""

EXIT_WITHIN = 5.0
"""Seconds that a process which ends waits for what is still to be sent."""

log = get_logger("doorbell")


@dataclass(frozen=True, slots=True)
class _Sending:
    """Something for Celery's broker: a ring for a transport, or a message (transport None)."""

    send: Callable[[], object]
    transport: str | None = None


class Doorbell:
    """Rings through Celery from a thread of its own, so that a broker that is away costs a publisher nothing."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[_Sending] = deque()
        self._rung_at: dict[str, float] = {}
        self._thread: threading.Thread | None = None
        self._is_busy = self._is_away = False

    def ring(self, transport: str) -> None:
        """Wake this process's pumps at once, and a worker unless one was woken just now or is about to be."""
        wake(transport)
        with self._changed:
            now = time.monotonic()
            is_recent = now - self._rung_at.get(transport, -RING_EVERY) < RING_EVERY
            if is_recent or any(sending.transport == transport for sending in self._waiting):
                return
            self._rung_at[transport] = now
            self._send(_Sending(partial(tasks.ring, transport), transport))

    def hand_over(self, wire: dict[str, Any]) -> None:
        """Give a message that is stored nowhere to a worker."""
        with self._changed:
            if len(self._waiting) < MOST_WAITING:
                self._send(_Sending(partial(tasks.hand_over, wire)))
                return
        log.warning("A message that is stored nowhere is lost: too many wait to be sent.", topic=wire["topic"])

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until everything has left this process, or so many seconds; return whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._is_busy, timeout)

    def after_fork(self) -> None:
        """Begin anew in a child process: it inherits neither the thread nor the right to the connections."""
        was_used = self._thread is not None
        self._begin()
        if was_used:
            tasks.forget_connections()

    def _send(self, sending: _Sending) -> None:
        self._waiting.append(sending)
        self._changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="datapunk-doorbell", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                sending, self._is_busy = self._waiting[0], True
            try:
                sending.send()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is nobody's here but the log's
                self._failed(error)
            else:
                self._sent()
            connections.close_all()  # where tasks are run at once, by CELERY_TASK_ALWAYS_EAGER
            with self._changed:
                self._is_busy = False
                self._changed.notify_all()

    def _sent(self) -> None:
        with self._changed:
            self._waiting.popleft()
        if self._is_away:
            self._is_away = False
            log.info("Celery's broker takes wake-ups again.")

    def _failed(self, error: Exception) -> None:
        """Drop what waits, for it would not fare better; say so once until the broker is back."""
        with self._changed:
            lost = sum(sending.transport is None for sending in self._waiting)
            self._waiting.clear()
        kind = type(error).__qualname__  # not what it says: that may be an address with a password
        if lost:
            log.warning("Messages that are stored nowhere are lost: Celery's broker is away.", count=lost, error=kind)
        if not self._is_away:
            self._is_away = True
            log.warning("Celery's broker took no wake-up; the sweep will find what is due.", error=kind)


doorbell = Doorbell()


def connect() -> None:
    """Listen to what is published, and to forks."""
    signals.published.connect(_on_published, dispatch_uid="datapunk_broker.doorbell")
    signals.published_live.connect(_on_published_live, dispatch_uid="datapunk_broker.doorbell")
    signals.appended.connect(_on_appended, dispatch_uid="datapunk_broker.doorbell")
    os.register_at_fork(after_in_child=doorbell.after_fork)
    atexit.register(doorbell.wait, EXIT_WITHIN)
    os.register_at_fork(after_in_child=herald.after_fork)
    atexit.register(herald.close, EXIT_WITHIN)


def _on_published(topic: str, transports: frozenset[str], **_: Any) -> None:
    if Transport.PULL in transports:
        herald.has_work(topic)
    for transport in transports - {Transport.PULL}:
        doorbell.ring(transport)


def _on_appended(topic: str, head: int, **_: Any) -> None:
    herald.grew(topic, head)


def _on_published_live(topic: str, messages: tuple[dict[str, Any], ...], **_: Any) -> None:
    herald.live(topic, messages)
    for wire in messages:
        doorbell.hand_over(wire)
