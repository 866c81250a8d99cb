"""Give back what a batch held when it broke in the middle."""

from collections.abc import Collection
from datetime import timedelta

from django.db import connections

from datapunk_broker.engine.hold import Key, extend, release


def reconnect(using: str) -> None:
    """Let the next statement open a new connection; not in somebody's transaction, which would be lost by it."""
    connection = connections[using]
    if not connection.in_atomic_block:
        connection.close()


def hand_back(claims: Collection[Key], *, using: str) -> None:
    """Release claims that nobody has started on, over a connection that works."""
    if claims:
        reconnect(using)
        release(claims, using=using)


def let_lapse(claims: Collection[Key], *, using: str) -> None:
    """End the leases of claims that were cut short in the middle.

    The sweep takes them for those of a worker that died: one that does it again and again is claimed alone,
    charged, and in the end a dead letter.
    """
    if claims:
        extend(claims, timedelta(0), using=using)
