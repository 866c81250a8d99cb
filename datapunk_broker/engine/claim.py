"""Give a worker its next deliveries, exclusively, for a while."""

import random
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.db.models.functions import Now

from datapunk_broker.breaker import may_probe, probing
from datapunk_broker.engine.breakers import breaker_of, save_breaker
from datapunk_broker.engine.dialects import dialect_of
from datapunk_broker.engine.kinds import READY, SUSPECT, with_ready
from datapunk_broker.engine.roster import Subscriber
from datapunk_broker.engine.rows import Claimed, Wanted
from datapunk_broker.engine.weight import bounded
from datapunk_broker.models import Delivery, Subscription
from datapunk_broker.states import BreakerState, DeliveryState, SubscriptionState

SUSPECTS_SHARE = 0.1
"""Of the claims, how many look for suspects first."""

_rng = random.SystemRandom()

_last_keys: dict[tuple[str, int], str] = {}
"""By database and subscription the last ordering key that this process looked at: so each has its turn."""

Step = Callable[[Wanted], list[Claimed]]


def claim(wanted: Sequence[Wanted], *, limit: int, using: str) -> list[Claimed]:
    """Claim up to ``limit`` ready deliveries across subscriptions, a fair share each; one statement.

    As every claim it takes no more bytes than ``weight.MOST``; heavy bodies are fetched by a second statement.
    """
    return bounded(dialect_of(using).claim(wanted, limit), using=using) if wanted else []


def claim_suspect(subscriber: Subscriber, *, using: str) -> list[Claimed]:
    """Claim one delivery whose last claim lapsed unreported, alone, so that it takes no other down."""
    if subscriber.max_in_flight is not None:
        return _in_turn(subscriber, 1, [_suspect(using)], using)
    return bounded(_suspect(using)(Wanted(subscriber.id, 1, subscriber.lease)), using=using)


def claim_guarded(
    subscriber: Subscriber, share: int, *, using: str, after: str | None = None, suspects: bool = True
) -> list[Claimed]:
    """Claim for a subscription whose order, limit in flight or batch window needs one claimer at a time.

    Nothing is claimed while another worker claims for it.
    after: the last ordering key looked at; None is where this process stopped, so that each key has its turn.
    suspects: when there is nothing else, and now and then before all else, one whose last claim lapsed, alone.
    """
    steps: list[Step] = [partial(_ordinary, subscriber, after, using)]
    if suspects:
        steps.insert(0 if suspect_is_next() else 1, _suspect(using))
    return _in_turn(subscriber, share, steps, using)


def _in_turn(subscriber: Subscriber, share: int, steps: Iterable[Step], using: str) -> list[Claimed]:
    """Claim by the first of these steps that finds anything, unless another claims for this subscription."""
    with transaction.atomic(using=using):
        # The lock is a statement of its own: the claim after it must see what the last holder committed.
        if not dialect_of(using).try_lock(subscriber.id) or not _flows(subscriber, using):
            return []
        room = _room(subscriber, share, using)
        if room <= 0 or not _window_is_over(subscriber, using):
            return []
        wanted = Wanted(subscriber.id, room, subscriber.lease)
        return bounded(next(filter(None, (step(wanted) for step in steps)), []), using=using)


def _suspect(using: str, breaker: BreakerState = BreakerState.CLOSED) -> Step:
    return lambda wanted: dialect_of(using).claim_suspect(wanted, breaker)


def suspect_is_next() -> bool:
    """Return whether this claim begins with the suspects, so that a backlog that never ends does not starve them."""
    return _rng.random() < SUSPECTS_SHARE


def _ordinary(subscriber: Subscriber, after: str | None, using: str, wanted: Wanted) -> list[Claimed]:
    claimed = dialect_of(using).claim([wanted], wanted.share)
    if subscriber.ordering and len(claimed) < wanted.share:
        claimed += _runs(wanted, wanted.share - len(claimed), after, using)
    return claimed


def _runs(wanted: Wanted, limit: int, after: str | None, using: str) -> list[Claimed]:
    """Claim of the ordering keys behind the last one looked at, and behind the last of all from the first again."""
    dialect, me = dialect_of(using), (using, wanted.subscription)
    start = _last_keys.get(me, "") if after is None else after
    claimed, last = dialect.claim_run(wanted, limit, start)
    if last is None and start and len(claimed) < limit:
        # Those claimed here are taken, and left out.
        more, last = dialect.claim_run(wanted, limit - len(claimed), "")
        claimed += more
    _last_keys[me] = last or ""
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
            claimed = _runs(wanted, 1, None, using)
        claimed = claimed or dialect.claim_suspect(wanted, BreakerState.HALF_OPEN)
        if not claimed:
            save_breaker(row, breaker, using=using)
        return bounded(claimed, using=using)


def with_work(subscriptions: Iterable[int], *, using: str) -> set[int]:
    """Return which of these have a ready delivery, so that no lock is taken for the others."""
    return with_ready(Subscription.objects.filter(pk__in=list(subscriptions)), "pk", using=using)


def with_probe_due(subscriptions: Iterable[int], *, using: str) -> set[int]:
    """Return which of these have a breaker to be tried, so that no row is locked for the others."""
    rows = Subscription.objects.using(using).filter(pk__in=list(subscriptions), breaker_until__lte=Now())
    return set(rows.order_by().values_list("pk", flat=True))


def with_suspects(subscriptions: Iterable[int], *, using: str) -> set[int]:
    """Return which of these have a ready delivery whose last claim lapsed."""
    return with_ready(Subscription.objects.filter(pk__in=list(subscriptions)), "pk", [SUSPECT], using=using)


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
