"""Count what there is right now, by subscription: what waits, what died, and what ended since the beginning."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Case, Count, F, Min, Q, When

from datapunk_broker.engine.histogram import add_buckets
from datapunk_broker.models import DeadLetter, Delivery, Traffic, TrafficTotal
from datapunk_broker.states import DeliveryState

Backlogs = Mapping[tuple[int, str], tuple[int, datetime | None]]


@dataclass(slots=True)
class Ended:
    """Deliveries that ended alike. seconds: their latencies' sum. buckets: as ``LATENCY_BOUNDS`` has them, or none."""

    count: int = 0
    seconds: float = 0.0
    buckets: list[int] = field(default_factory=list)

    def add(self, count: int, seconds: float, buckets: list[int]) -> None:
        """Add more of them."""
        self.count += count
        self.seconds += seconds
        self.buckets = add_buckets(self.buckets, buckets)


def backlogs(using: str) -> Backlogs:
    """Return how many deliveries a subscription has in a state, and since when the oldest is due; one statement."""
    due_since = Case(When(attempt=0, then=F("available_at")), default=F("published_at"))
    not_due = Q(state=DeliveryState.SCHEDULED, attempt=0)
    live = Delivery.objects.using(using).order_by().values_list("subscription_id", "state")
    counted = live.annotate(Count("pk"), oldest=Min(due_since, filter=~not_due))
    found: defaultdict[tuple[int, str], tuple[int, datetime | None]] = defaultdict(lambda: (0, None))
    found.update({(subscription, state): (count, oldest) for subscription, state, count, oldest in counted})
    return found


def oldest_unacked(subscription: int, found: Backlogs, now: datetime) -> float | None:
    """Return for how many seconds what waits longest has been due; None when nothing is."""
    moments = [moment for state in DeliveryState if (moment := found[subscription, state][1]) is not None]
    return max(0.0, (now - min(moments)).total_seconds()) if moments else None


def ended(using: str) -> Mapping[tuple[int, str], Ended]:
    """Return what ended, by subscription and outcome; one statement."""
    sums: defaultdict[tuple[int, str], Ended] = defaultdict(Ended)
    for subscription, outcome, count, seconds, buckets in _traffic(using):
        sums[subscription, outcome].add(count, seconds, buckets)
    return sums


def _traffic(using: str) -> Iterator[tuple[int, str, int, float, list[int]]]:
    """Yield what is folded and what is not: in one statement, because the fold moves rows meanwhile."""
    fields = ("subscription_id", "outcome", "count", "seconds", "buckets")
    folded = TrafficTotal.objects.using(using).of_subscriptions().order_by().values_list(*fields)
    fresh = Traffic.objects.using(using).order_by().values_list(*fields)
    yield from folded.union(fresh, all=True)


def dead_letters(using: str) -> dict[int, dict[str, int]]:
    """Return the open dead letters of subscriptions by reason; one statement."""
    counted = DeadLetter.objects.using(using).open().order_by().values_list("subscription_id", "reason")
    letters: dict[int, dict[str, int]] = {}
    for subscription, reason, count in counted.annotate(Count("pk")):
        letters.setdefault(subscription, {})[reason] = count
    return letters
