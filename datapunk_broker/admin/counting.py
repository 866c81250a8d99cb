"""Count what a page shows, and stop counting early: no page of the admin walks a million rows."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.db.models import IntegerField, OuterRef, QuerySet, Subquery

from datapunk_broker.admin.generic import Paginator
from datapunk_broker.models import DeadLetter, Delivery, Subscription
from datapunk_broker.states import DeliveryState

MOST = 10_000
"""Nothing is counted further than this."""

ALL_COUNTED = 100_000
"""How many rows the counts of one page may look at together."""


@dataclass(frozen=True, slots=True)
class Bounded:
    """A count, which says when there is more."""

    count: int = 0
    more: bool = False

    def __add__(self, other: "Bounded") -> "Bounded":
        return Bounded(self.count + other.count, self.more or other.more)

    def __bool__(self) -> bool:
        return self.count > 0 or self.more

    def __str__(self) -> str:
        return f"{self.count:,}{'+' if self.more else ''}"

    @classmethod
    def of(cls, counted: int, limit: int) -> "Bounded":
        """Read what was counted up to one more than the limit."""
        return cls(min(counted, limit), counted > limit)


class BoundedPaginator(Paginator[Any]):
    """Pages of the first ``MOST`` rows; who looks for more narrows the list."""

    @cached_property
    def counted(self) -> Bounded:
        """How many rows there are, as far as they are counted."""
        rows: Any = self.object_list
        # In the list's order, which has an index; else, of few rows that fit, a whole table is read to find them.
        return Bounded.of(rows.values("pk")[: MOST + 1].count(), MOST)

    @cached_property
    def count(self) -> int:
        """How many rows there are pages for."""
        return self.counted.count


class _Count(Subquery):
    template = "(SELECT COUNT(*) FROM (%(subquery)s) bounded)"
    output_field = IntegerField()

    def __init__(self, queryset: QuerySet[Any], limit: int) -> None:
        super().__init__(queryset.order_by().values("pk")[: limit + 1])


def backlogs_of(subscriptions: Iterable[int], using: str) -> dict[int, Bounded]:
    """Return how many deliveries wait for each of these subscriptions; two statements."""
    ids = list(subscriptions)
    counts = _counted(ids, _indexed_deliveries(), using)
    for pk, scheduled in _scheduled(ids, using).items():
        counts[pk] += scheduled
    return counts


def dead_letters_of(subscriptions: Iterable[int], using: str) -> dict[int, Bounded]:
    """Return how many open dead letters each of these subscriptions has; one statement."""
    letters: QuerySet[Any] = DeadLetter.objects.open().filter(subscription=OuterRef("pk"))
    return _counted(list(subscriptions), {"letters": letters}, using)


def _indexed_deliveries() -> dict[str, QuerySet[Any]]:
    """Return the deliveries of an outer subscription, in parts that each have an index by subscription."""
    own: QuerySet[Any] = Delivery.objects.filter(subscription=OuterRef("pk"))
    unordered = own.filter(ordering_key=None)
    return {
        "ordered": own.filter(ordering_key__isnull=False),
        "ready": unordered.filter(state=DeliveryState.READY, lapses=0),
        "suspect": unordered.filter(state=DeliveryState.READY, lapses__gt=0),
        "claimed": unordered.filter(state=DeliveryState.CLAIMED),
    }


def _counted(ids: list[int], parts: Mapping[str, QuerySet[Any]], using: str) -> dict[int, Bounded]:
    if not ids:
        return {}
    limit = max(100, min(MOST, ALL_COUNTED // len(ids)))
    rows = Subscription.objects.using(using).filter(pk__in=ids).order_by()
    counts = {f"count_{name}": _Count(part, limit) for name, part in parts.items()}
    found = rows.annotate(**counts).values_list("pk", *counts)
    return dict.fromkeys(ids, Bounded()) | {
        pk: sum((Bounded.of(count, limit) for count in counted), Bounded()) for pk, *counted in found
    }


def _scheduled(ids: list[int], using: str) -> dict[int, Bounded]:
    """Count among the first that are due: waiting deliveries have an index by their time alone."""
    if not ids:
        return {}
    waiting = Delivery.objects.using(using).filter(state=DeliveryState.SCHEDULED, ordering_key=None)
    first = list(waiting.order_by("available_at").values_list("subscription_id", flat=True)[: MOST + 1])
    counts = Counter(first[:MOST])
    return {pk: Bounded(counts[pk], len(first) > MOST) for pk in ids}
