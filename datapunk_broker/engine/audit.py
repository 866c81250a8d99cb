"""Hold what was published against what became of it, for each subscription."""

from dataclasses import dataclass
from typing import Any

from django.db import connections

from datapunk_broker.conf import is_name
from datapunk_broker.engine.audit_sql import AUDIT, ELEMENTS
from datapunk_broker.exceptions import SubscriptionNotFoundError


@dataclass(frozen=True, slots=True)
class AuditLine:
    """The books of one subscription, over the messages of its topic that are kept.

    published: those messages. matched: how many of them were routed here. acked, dead, expired, dropped: how
    many of those ended so. pending: how many are on their way.
    balance: matched less all that became of it: 0, or something is wrong; None where the topic keeps no
    history, because there what ended leaves no row, and ``unrecorded`` is how many matched ones have none.
    missing: messages that were routed here and left no trace; surplus: those with more than one, or that were
    never routed here. The two tell of a loss and a double that balance each other.

    A topic whose history was off for a while shows what ended then as missing, until it is pruned.
    """

    subscription: str
    topic: str
    published: int
    matched: int
    acked: int
    dead: int
    expired: int
    dropped: int
    pending: int
    balance: int | None
    missing: int
    surplus: int
    unrecorded: int

    @property
    def ok(self) -> bool:
        """Whether every matched message is accounted for exactly once."""
        return not self.missing and not self.surplus


def audit(*, using: str, subscription: str | None = None) -> tuple[AuditLine, ...]:
    """Return a line for each subscription, or for the one named; one statement, so one moment.

    It reads the whole history of the topics concerned.
    Raises SubscriptionNotFoundError.
    """
    if subscription is not None and not is_name(subscription):
        raise SubscriptionNotFoundError(subscription)
    connection = connections[using]
    statement = AUDIT.format(elements=ELEMENTS[connection.vendor])
    with connection.cursor() as cursor:
        cursor.execute(statement, {"name": subscription})
        rows = cursor.fetchall()
    if subscription is not None and not rows:
        raise SubscriptionNotFoundError(subscription)
    return tuple(_line(row) for row in rows)


def _line(row: tuple[Any, ...]) -> AuditLine:
    name, topic, history, published, matched, *counts, traceless, surplus = row
    acked, dead, expired, dropped, pending = counts
    return AuditLine(
        subscription=name,
        topic=topic,
        published=published,
        matched=matched,
        acked=acked,
        dead=dead,
        expired=expired,
        dropped=dropped,
        pending=pending,
        balance=matched - sum(counts) if history else None,
        missing=traceless if history else 0,
        surplus=surplus,
        unrecorded=0 if history else traceless,
    )
