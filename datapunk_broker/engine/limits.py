"""Hold subscriptions to their soft limit: flag them for publishers, or make the oldest give way."""

from collections import Counter
from collections.abc import Sequence

from django.db import transaction
from django.db.models import Count, F, Q, Value
from django.db.models.functions import Coalesce

from datapunk_broker.conf import BrokerConfig, get_config
from datapunk_broker.engine.bury import End, bury
from datapunk_broker.engine.kinds import ANY, BY_AGE, SCHEDULED, count_of_each
from datapunk_broker.engine.roster import subscribers
from datapunk_broker.models import Delivery, Subscription
from datapunk_broker.states import DeliveryState, FailureReason, Overflow, Settled

AT_ONCE = 50
"""Subscriptions counted in one statement: with many more PostgreSQL would spend its time compiling it."""


def hold_limits(*, using: str, batch: int) -> int:
    """Look at every subscription that has a limit or is flagged; return how many deliveries gave way."""
    config = get_config()
    limit = Coalesce(F("topic__max_queue_size"), Value(config.max_queue_size))
    limited = Subscription.objects.using(using).listed().annotate(own_limit=limit)
    rows = list(limited.filter(Q(own_limit__gt=0) | Q(over_limit=True)).select_related("topic"))
    dropped = 0
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        backlogs = _backlogs(some, max(_limit(row, config) for row in some) + batch, using)
        dropped += sum(_hold(row, backlogs.get(row.pk, 0), batch, config, using) for row in some)
    return dropped


def _hold(row: Subscription, backlog: int, batch: int, config: BrokerConfig, using: str) -> int:
    overflow = Overflow(row.topic.overflow or config.overflow)
    limit = _limit(row, config)
    excess = backlog - limit if limit else -1
    _flag(row, overflow == Overflow.REJECT and excess >= 0, using)
    return _give_way(row, overflow, min(excess, batch), using) if overflow != Overflow.REJECT and excess > 0 else 0


def _limit(row: Subscription, config: BrokerConfig) -> int:
    return config.max_queue_size if row.topic.max_queue_size is None else row.topic.max_queue_size


def _backlogs(rows: Sequence[Subscription], most: int, using: str) -> Counter[int]:
    """Return the live deliveries of each, exact up to ``most``; two statements."""
    ids = [row.pk for row in rows]
    counted = Subscription.objects.using(using).filter(pk__in=ids).annotate(live=count_of_each(most, using=using))
    later = Delivery.objects.using(using).of(*ids).filter(SCHEDULED, ordering_key=None)
    scheduled = later.order_by().values_list("subscription").annotate(Count("pk"))
    return Counter(dict(counted.order_by().values_list("pk", "live"))) + Counter(dict(scheduled))


def _flag(row: Subscription, full: bool, using: str) -> None:  # noqa: FBT001 - the flag's value
    if row.over_limit != full:
        Subscription.objects.using(using).filter(pk=row.pk).update(over_limit=full)


def _give_way(row: Subscription, overflow: Overflow, excess: int, using: str) -> int:
    outcome = Settled.DROPPED if overflow == Overflow.DROP_OLDEST else Settled.DEAD
    with transaction.atomic(using=using):
        waiting = Delivery.objects.using(using).of(row.pk).filter(ANY).exclude(state=DeliveryState.CLAIMED)
        oldest = list(waiting.locked(skip=True).with_now().order_by(BY_AGE)[:excess])
        ends = [End(d, outcome, FailureReason.OVERFLOW, d.attempt, d.now) for d in oldest]
        bury(ends, subscribers([row.pk], using), using=using)
    return len(oldest)
