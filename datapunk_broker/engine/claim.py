"""Give a worker its next deliveries, exclusively, for a while."""

import random
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models.functions import Now

from datapunk_broker.breaker import may_probe, probing
from datapunk_broker.engine.breakers import breaker_of, save_breaker
from datapunk_broker.engine.dialects import dialect_of
from datapunk_broker.engine.kinds import READY, with_ready
from datapunk_broker.engine.roster import Subscriber
from datapunk_broker.engine.rows import Claimed, Wanted
from datapunk_broker.models import Delivery, Subscription
from datapunk_broker.states import BreakerState, DeliveryState, SubscriptionState

SUSPECTS_SHARE = 0.1
"""Of the claims, how many look for suspects first."""

_rng = random.SystemRandom()


def claim(wanted: Sequence[Wanted], *, limit: int, using: str) -> list[Claimed]:
    """Claim up to ``limit`` ready deliveries across subscriptions, a fair share each; one statement."""
    return dialect_of(using).claim(wanted, limit) if wanted else []


def claim_suspect(wanted: Sequence[Wanted], *, using: str) -> list[Claimed]:
    """Claim one delivery whose last claim lapsed unreported, alone, so that it takes no other down.

    Those of a subscription with a limit in flight are ``claim_guarded``'s: only under its lock does the limit hold.
    """
    return dialect_of(using).claim_suspect(wanted, limited=False) if wanted else []


def claim_guarded(subscriber: Subscriber, share: int, *, using: str, after: str = "") -> list[Claimed]:
    """Claim for a subscription whose order, limit in flight or batch window needs one claimer at a time.

    Nothing is claimed while another worker claims for it. ``after`` is the last ordering key served.
    One whose last claim lapsed is claimed alone: when there is nothing else, and now and then before all else.
    """
    dialect = dialect_of(using)
    with transaction.atomic(using=using):
        # The lock is a statement of its own: the claim after it must see what the last holder committed.
        if not dialect.try_lock(subscriber.id) or not _flows(subscriber, using):
            return []
        room = _room(subscriber, share, using)
        wanted = Wanted(subscriber.id, room, subscriber.lease)
        if room <= 0 or not _window_is_over(subscriber, using):
            return []
        steps = [lambda: _ordinary(subscriber, wanted, after, using), lambda: dialect.claim_suspect([wanted])]
        if suspect_is_next():
            steps.reverse()
        return steps[0]() or steps[1]()


def suspect_is_next() -> bool:
    """Return whether this claim begins with the suspects, so that a backlog that never ends does not starve them."""
    return _rng.random() < SUSPECTS_SHARE


def _ordinary(subscriber: Subscriber, wanted: Wanted, after: str, using: str) -> list[Claimed]:
    dialect = dialect_of(using)
    claimed = dialect.claim([wanted], wanted.share)
    # Behind the last key come the first again; those claimed here are taken and left out.
    for start in dict.fromkeys((after, "")) if subscriber.ordering else ():
        if len(claimed) < wanted.share:
            claimed += dialect.claim_run(wanted, wanted.share - len(claimed), start)
    return claimed


def claim_probe(subscriber: Subscriber, *, using: str) -> list[Claimed]:
    """Claim the one delivery with which an open breaker, its time being over, is tried; none if another tries."""
    if subscriber.breaker is None:
        _close(subscriber, using)
        return []
    dialect = dialect_of(using)
    with transaction.atomic(using=using):
        rows = Subscription.objects.using(using).select_for_update(no_key=True, skip_locked=True)
        row = rows.with_now().filter(pk=subscriber.id, state=SubscriptionState.ACTIVE).first()
        if row is None:
            return []
        breaker = breaker_of(row)
        if not may_probe(breaker, row.now):
            return []
        lease = timedelta(seconds=subscriber.lease)
        save_breaker(row, probing(subscriber.breaker, breaker, now=row.now, lease=lease), using=using)
        wanted = Wanted(subscriber.id, 1, subscriber.lease)
        claimed = dialect.claim([wanted], 1, BreakerState.HALF_OPEN)
        if not claimed and subscriber.ordering:
            claimed = dialect.claim_run(wanted, 1, "")
        claimed = claimed or dialect.claim_suspect([wanted], BreakerState.HALF_OPEN)
        if not claimed:
            save_breaker(row, breaker, using=using)
        return claimed


def with_work(subscriptions: Iterable[int], *, using: str) -> set[int]:
    """Return which of these have a ready delivery, so that no lock is taken for the others."""
    return with_ready(Subscription.objects.filter(pk__in=list(subscriptions)), "pk", using=using)


def _close(subscriber: Subscriber, using: str) -> None:
    """Close a breaker whose policy was taken away while it was open."""
    rows = Subscription.objects.using(using).filter(pk=subscriber.id).exclude(breaker_state=BreakerState.CLOSED)
    rows.update(breaker_state=BreakerState.CLOSED, breaker_failures=0, breaker_until=None)


def _flows(subscriber: Subscriber, using: str) -> bool:
    flowing = {"state": SubscriptionState.ACTIVE, "breaker_state": BreakerState.CLOSED}
    return Subscription.objects.using(using).filter(pk=subscriber.id, **flowing).exists()


def _room(subscriber: Subscriber, share: int, using: str) -> int:
    if subscriber.max_in_flight is None:
        return share
    claimed = Delivery.objects.using(using).of(subscriber.id).filter(state=DeliveryState.CLAIMED)
    return min(share, subscriber.max_in_flight - claimed.count())


def _window_is_over(subscriber: Subscriber, using: str) -> bool:
    if subscriber.batch_window is None:
        return True
    deliveries = Delivery.objects.using(using).of(subscriber.id)
    waiting: list[tuple[datetime, datetime]] = []
    for kind, order in READY.items():
        some = deliveries.filter(kind).order_by(*order).values_list("available_at", Now())
        waiting += some[: subscriber.batch_size]
    window = timedelta(seconds=subscriber.batch_window)
    return len(waiting) >= subscriber.batch_size or any(since <= now - window for since, now in waiting)
