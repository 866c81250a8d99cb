"""The event door: what happened is announced here, and no listener can break who announces.

Every signal is a Django signal: connect a receiver that takes ``**kwargs``. Those announced on commit
carry ``using`` as well, the alias of the database that committed.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import transaction
from django.db.transaction import TransactionManagementError
from django.dispatch import Signal

log = logging.getLogger(__name__)


class Event(Signal):
    """A signal that reports its failing receivers by name, each kind of failure once in full."""

    def __init__(self) -> None:
        super().__init__()
        self._reported: set[tuple[str, type[Exception]]] = set()

    def _log_robust_failure(self, receiver: Callable[..., Any], err: Exception) -> None:
        # In place of Django's own, which raises for a receiver without a __qualname__ (a partial, an object),
        # and would write a traceback for each of a thousand messages a second.
        failure = (_name_of(receiver), type(err))
        if failure in self._reported:
            log.debug("The receiver %s failed again: %s", failure[0], type(err).__name__)
            return
        self._reported.add(failure)
        log.error("The receiver %s failed; the broker goes on without it.", failure[0], exc_info=err)


published = Event()
"""Messages were committed.

topic: str. message_ids: tuple[UUID, ...]. correlation_ids: tuple[str | None, ...], one a message.
deliveries: int, how many they owe. transports: frozenset[str], which have work now. using: str.
"""

published_live = Event()
"""Messages of a topic that stores nothing, after the commit; they are nowhere else.

topic: str. messages: tuple[dict[str, Any], ...], JSON-able. using: str.
"""

appended = Event()
"""A topic's stream grew. topic: str. head: int, its last position now. using: str."""

publish_refused = Event()
"""A publish was refused. topic: str, as the publisher called it. code: str, the error's."""

settled = Event()
"""Deliveries ended. subscription: str. topic: str. outcome: Settled. count: int."""

attempt_failed = Event()
"""One attempt failed.

subscription: str. topic: str. message_id: UUID. correlation_id: str | None. attempt: int, from 1.
reason: FailureReason. error_class: str. where: str, file:line of the innermost frames.
retry_in: timedelta, or None when it was the last attempt.
"""

dead_lettered = Event()
"""A delivery died.

subscription: str. topic: str. message_id: UUID. correlation_id: str | None. reason: FailureReason.
error_class: str.
"""

swept = Event()
"""The sweep went round.

due, lapsed, expired, dropped: int, deliveries. folded: int, rows of traffic. seconds: float, it took.
"""

topology_changed = Event()
"""A topic, or what is subscribed to it, changed. topic: str."""

breaker_changed = Event()
"""A breaker changed. subscription: str. state: BreakerState. until: datetime, or None when it is closed."""


claims_lost = Event()
"""Claims had run out before they were settled, so the deliveries are others'.

subscription: str. topic: str. count: int.
"""

timeout_unguarded = Event()
"""A synchronous handler runs in a thread, where nothing stops it; once a process.

subscription: str. timeout: float, seconds.
"""


def announce(signal: Signal, sender: object, **kwargs: Any) -> None:
    """Tell every listener; one that fails is logged by name, and breaks neither the others nor the caller."""
    if signal.receivers:
        signal.send_robust(sender, **kwargs)


def announce_on_commit(signal: Signal, sender: object, using: str, **kwargs: Any) -> None:
    """Tell every listener once this database's transaction is committed, or now when there is none.

    A connection whose owner commits by hand has no such moment: nothing is announced there, and the sweep
    finds what is due.
    """
    if not signal.receivers:
        return
    try:
        # A lambda: Django 5.2 asks a robust callback for its __qualname__, which a partial lacks.
        transaction.on_commit(lambda: announce(signal, sender, using=using, **kwargs), using=using, robust=True)
    except TransactionManagementError:
        log.debug("Nothing is announced on %r: its transactions are managed by hand.", using)


def _name_of(receiver: Callable[..., Any]) -> str:
    while isinstance(receiver, partial):
        receiver = receiver.func
    named = receiver if hasattr(receiver, "__qualname__") else type(receiver)
    return f"{named.__module__}.{named.__qualname__}"
