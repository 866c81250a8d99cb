"""Fold traffic, which is appended a row a batch, into one row a minute and one total."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from django.db import transaction
from django.db.models import QuerySet

from datapunk_broker.engine.dialects import FOLDING, dialect_of
from datapunk_broker.engine.histogram import add_buckets
from datapunk_broker.models import Traffic, TrafficMinute, TrafficTotal

BATCH = 5_000

Key = tuple[object, ...]
Sum = TypeVar("Sum", TrafficMinute, TrafficTotal)


def fold(*, using: str, batch: int = BATCH) -> int:
    """Fold the oldest rows, up to ``batch``; return how many. One folds at a time, the others return 0."""
    if not Traffic.objects.using(using).exists():
        return 0
    with transaction.atomic(using=using):
        if not dialect_of(using).try_lock(FOLDING):
            return 0
        rows = list(Traffic.objects.using(using).order_by("pk")[:batch])
        _fold_into_minutes(rows, using)
        _fold_into_totals(rows, using)
        Traffic.objects.using(using).filter(pk__in=[row.pk for row in rows]).delete()
    return len(rows)


def _fold_into_minutes(traffic: Iterable[Traffic], using: str) -> None:
    sums: dict[Key, TrafficMinute] = {}
    for row in traffic:
        new = TrafficMinute(subscription_id=row.subscription_id, minute=row.minute, outcome=row.outcome, count=0)
        _add(sums.setdefault((row.subscription_id, row.minute, row.outcome), new), row)
    rows = TrafficMinute.objects.using(using)
    known = rows.filter(
        subscription__in={total.subscription_id for total in sums.values()},
        minute__in={total.minute for total in sums.values()},
    )
    _merge(rows, sums, {(row.subscription_id, row.minute, row.outcome): row for row in known})


def _fold_into_totals(traffic: Iterable[Traffic], using: str) -> None:
    sums: dict[Key, TrafficTotal] = {}
    for row in traffic:
        new = TrafficTotal(subscription_id=row.subscription_id, outcome=row.outcome)
        _add(sums.setdefault((row.subscription_id, row.outcome), new), row)
    rows = TrafficTotal.objects.using(using)
    known = rows.filter(subscription__in={subscription for subscription, _ in sums})
    _merge(rows, sums, {(row.subscription_id, row.outcome): row for row in known})


def _add(total: TrafficMinute | TrafficTotal, more: Traffic | TrafficMinute | TrafficTotal) -> None:
    total.count += more.count
    total.seconds += more.seconds
    total.buckets = add_buckets(total.buckets, more.buckets)


def _merge(rows: QuerySet[Sum], sums: Mapping[Key, Sum], known: Mapping[Key, Sum]) -> None:
    both = sums.keys() & known.keys()
    for key in both:
        _add(known[key], sums[key])
    rows.bulk_update([known[key] for key in both], ["count", "seconds", "buckets"])
    rows.bulk_create([row for key, row in sums.items() if key not in both])
