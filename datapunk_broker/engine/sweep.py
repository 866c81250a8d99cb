"""Find what is due, lapsed, expired, over its limit or left waiting, and set it right."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from django.db import transaction
from django.db.models import Case, F, IntegerField, Value, When
from django.db.models.functions import Now

from datapunk_broker import signals
from datapunk_broker.engine.attempts import record
from datapunk_broker.engine.bury import End, bury
from datapunk_broker.engine.dialects import LIMITING, RESTAMPING, dialect_of
from datapunk_broker.engine.fold import fold
from datapunk_broker.engine.keeping import restamp
from datapunk_broker.engine.kinds import ANY, BY_AGE, with_ready
from datapunk_broker.engine.limits import hold_limits
from datapunk_broker.engine.roster import Subscriber, subscribers
from datapunk_broker.models import Attempt, Delivery, Subscription
from datapunk_broker.models.delivery import DeliveryQuerySet
from datapunk_broker.states import DeliveryState, FailureReason, Settled, SubscriptionState, Transport

BATCH = 1_000
STEP = 1.0
"""Seconds after which a sweep's step begins no further batch; the next sweep goes on."""


@dataclass(frozen=True, slots=True)
class Swept:
    """How many deliveries came due, lapsed, expired, gave way to a limit or lost their subscription.

    folded: rows of traffic. stalled: the transports that have ready deliveries, for whoever rings their pumps.
    """

    due: int
    lapsed: int
    expired: int
    dropped: int
    purged: int
    folded: int
    stalled: frozenset[str]


def sweep(*, using: str) -> Swept:
    """Go round once. Several may sweep at a time: each takes rows that no other has.

    What costs the same whoever does it, one does at a time: the others go past it.
    """
    began = time.monotonic()
    _restamp(using)
    swept = Swept(
        purged=_in_batches(_purge, using),  # first, so that no subscription that is gone has a dead letter
        due=sweep_due(using=using),
        lapsed=_in_batches(_lapse, using),
        expired=_in_batches(_expire, using),
        dropped=_hold_limits(using),
        folded=fold(using=using),
        stalled=_stalled(using),
    )
    found = {key: value for key, value in asdict(swept).items() if key not in ("stalled", "purged")}
    signals.announce(signals.swept, sender=sweep, **found, seconds=time.monotonic() - began)
    return swept


def sweep_due(*, using: str) -> int:
    """Make scheduled deliveries ready whose time has come; return how many."""
    return _in_batches(_come_due, using)


def _in_batches(step: Callable[[str], int], using: str) -> int:
    end = time.monotonic() + STEP
    done = total = step(using)
    while done >= BATCH and time.monotonic() < end:
        done = step(using)
        total += done
    return total


def _first(rows: DeliveryQuerySet, *order: Any) -> list[int]:
    """Return the first of them, without a lock, so that a sweep that finds nothing writes nothing.

    In an order: just to see whether there is any, PostgreSQL would as soon look through the whole table.
    """
    return list(rows.order_by(*order).values_list("pk", flat=True)[:BATCH])


def _come_due(using: str) -> int:
    due = Delivery.objects.using(using).filter(state=DeliveryState.SCHEDULED, available_at__lte=Now())
    found = _first(due, "available_at")
    if not found:
        return 0
    with transaction.atomic(using=using):
        ids = list(due.filter(pk__in=found).locked(skip=True).values_list("pk", flat=True))
        return Delivery.objects.using(using).filter(pk__in=ids).update(state=DeliveryState.READY)


def _lapse(using: str) -> int:
    lapsed = Delivery.objects.using(using).filter(state=DeliveryState.CLAIMED, lease_until__lt=Now())
    found = _first(lapsed, "lease_until", "pk")
    if not found:
        return 0
    with transaction.atomic(using=using):
        held = list(lapsed.filter(pk__in=found).locked(skip=True).with_now().order_by("lease_until", "pk"))
        roster = subscribers({row.subscription_id for row in held}, using)
        rows = [row for row in held if row.subscription_id in roster]
        _forget([row.pk for row in held if row.subscription_id not in roster], using)
        alone = [row for row in rows if row.lapses > 0]
        dead = {row.pk: row for row in alone if _exhausted(row, roster)}
        _record_lapses(alone, using)
        bury([_lost(row) for row in dead.values()], roster, using=using)
        _return([row for row in rows if row.pk not in dead], roster, using)
    return len(held)


def _forget(orphans: list[int], using: str) -> None:
    """Delete deliveries of a subscription whose row is gone, past every verb."""
    if orphans:
        Delivery.objects.using(using).filter(pk__in=orphans).delete()


def _exhausted(row: Delivery, roster: dict[int, Subscriber]) -> bool:
    return row.attempt + 1 >= roster[row.subscription_id].retry.max_attempts


def _record_lapses(rows: list[Delivery], using: str) -> None:
    attempts = [
        Attempt(
            message_id=row.message_id,
            subscription_id=row.subscription_id,
            attempt=row.attempt + 1,
            reason=FailureReason.LEASE_LOST,
            error_message="The worker did not report before the lease ran out.",
            failed_at=row.now,
        )
        for row in rows
    ]
    record(attempts, using=using)


def _lost(row: Delivery) -> End:
    problem = "Its workers did not report before the lease ran out, each time it was claimed alone."
    return End(row, Settled.DEAD, FailureReason.LEASE_LOST, row.attempt + 1, row.now, error_message=problem)


def _return(rows: list[Delivery], roster: dict[int, Subscriber], using: str) -> None:
    """Make them ready. A puller's first lapse is forgiven: it lost its connection more likely than its life."""
    forgiven = [row.pk for row in rows if row.claims == 1 and roster[row.subscription_id].transport == Transport.PULL]
    Delivery.objects.using(using).filter(pk__in=[row.pk for row in rows]).update(
        state=DeliveryState.READY,
        attempt=Case(When(lapses__gt=0, then=F("attempt") + 1), default=F("attempt"), output_field=IntegerField()),
        lapses=Case(When(pk__in=forgiven, then=Value(0)), default=F("lapses") + 1, output_field=IntegerField()),
        ack_token=None,
        lease_until=None,
    )


def _expire(using: str) -> int:
    waiting = [DeliveryState.READY, DeliveryState.SCHEDULED]
    expired = Delivery.objects.using(using).filter(expires_at__lte=Now(), state__in=waiting)
    found = _first(expired, "expires_at")
    if not found:
        return 0
    with transaction.atomic(using=using):
        rows = list(expired.filter(pk__in=found).locked(skip=True).with_now().order_by("expires_at"))
        roster = subscribers({row.subscription_id for row in rows}, using)
        mourned = {pk for pk, subscriber in roster.items() if subscriber.transport != Transport.STREAM}
        # A stream's own, and what a publisher committed for a subscription that is long gone, goes without a trace.
        others = [row.pk for row in rows if row.subscription_id not in mourned]
        Delivery.objects.using(using).filter(pk__in=others).delete()
        bury([_expired(row) for row in rows if row.subscription_id in mourned], roster, using=using)
    return len(rows)


def _expired(row: Delivery) -> End:
    return End(row, Settled.EXPIRED, FailureReason.EXPIRED, row.attempt, row.now)


def _purge(using: str) -> int:
    gone = Subscription.objects.using(using).filter(state=SubscriptionState.DELETED)
    deliveries = Delivery.objects.using(using)
    orphans = deliveries.filter(ANY, subscription__in=list(gone.values_list("pk", flat=True)))
    found = _first(orphans, BY_AGE)
    if not found:
        return 0
    with transaction.atomic(using=using):
        ids = list(deliveries.filter(pk__in=found).locked(skip=True).values_list("pk", flat=True))
        deliveries.filter(pk__in=ids).delete()
    return len(ids)


def _restamp(using: str) -> None:
    for subscription in Subscription.objects.using(using).live().filter(restamp_until__gt=Now()):
        with transaction.atomic(using=using):
            if not dialect_of(using).try_lock(RESTAMPING):
                return
            restamp(subscription, using=using)


def _hold_limits(using: str) -> int:
    with transaction.atomic(using=using):
        # Two that counted the same excess would make it give way twice.
        return hold_limits(using=using, batch=BATCH) if dialect_of(using).try_lock(LIMITING) else 0


def _stalled(using: str) -> frozenset[str]:
    active = Subscription.objects.filter(state=SubscriptionState.ACTIVE).exclude(transport=Transport.PULL)
    return frozenset(map(str, with_ready(active, "transport", using=using)))
