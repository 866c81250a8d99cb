"""What became of a message, subscription by subscription."""

from collections import defaultdict
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from datapunk_broker.api.door import rows
from datapunk_broker.api.pagination import Page
from datapunk_broker.models import Attempt, Delivery, Message, SettledDelivery
from datapunk_broker.states import FailureReason, Transport

State = Literal["scheduled", "ready", "claimed", "acked", "dead", "expired", "dropped"]


class FailedAttempt(Struct):
    """One attempt that failed, counted from 1."""

    attempt: int
    reason: FailureReason
    error: str
    failed_at: datetime


class ShownDelivery(Struct, kw_only=True):
    """One delivery, on its way (scheduled, ready, claimed) or settled (acked, dead, expired, dropped).

    attempts: how many were made. latency: seconds from publishing to settling.
    """

    subscription: str
    state: State
    attempts: int
    available_at: datetime | None = None
    lease_until: datetime | None = None
    settled_at: datetime | None = None
    latency: float | None = None
    failures: list[FailedAttempt]


class DeliveryPage(Page, kw_only=True):
    """All deliveries of a message, by subscription."""

    results: list[ShownDelivery]


def deliveries_of(message: Message) -> DeliveryPage:
    """Return what became of a message; three statements. The stream's own delivery is not among it."""
    failures = _failures(message)
    live = rows(Delivery).filter(message=message).exclude(subscription__transport=Transport.STREAM)
    settled = rows(SettledDelivery).filter(message=message).exclude(subscription__transport=Transport.STREAM)
    shown = [
        *(_live(row, failures[row.subscription_id]) for row in live.select_related("subscription")),
        *(_settled(row, failures[row.subscription_id]) for row in settled.select_related("subscription")),
    ]
    return DeliveryPage(results=sorted(shown, key=lambda row: row.subscription))


def _failures(message: Message) -> dict[int, list[FailedAttempt]]:
    failures: defaultdict[int, list[FailedAttempt]] = defaultdict(list)
    for row in rows(Attempt).filter(message=message).order_by("pk"):
        failed = FailedAttempt(row.attempt, FailureReason(row.reason), said(row), row.failed_at)
        failures[row.subscription_id].append(failed)
    return failures


def said(row: Any) -> str:
    """Return a failure's class and message as one text."""
    return ": ".join(filter(None, (row.error_class, row.error_message)))


def _live(row: Delivery, failures: list[FailedAttempt]) -> ShownDelivery:
    return ShownDelivery(
        subscription=row.subscription.name,
        state=row.state,
        attempts=row.attempt,
        available_at=row.available_at,
        lease_until=row.lease_until,
        failures=failures,
    )


def _settled(row: SettledDelivery, failures: list[FailedAttempt]) -> ShownDelivery:
    return ShownDelivery(
        subscription=row.subscription.name,
        state=row.outcome,
        attempts=row.attempts,
        settled_at=row.settled_at,
        latency=row.latency,
        failures=failures,
    )
