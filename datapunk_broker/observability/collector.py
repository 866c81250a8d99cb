"""Read from the database, when it is scraped, what is then the same from every process."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, cast

from django.db import Error
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family

from datapunk_broker.administration import Ended, SubscriptionTotals, TopicTotals, Totals
from datapunk_broker.models import LATENCY_BOUNDS
from datapunk_broker.observability import names
from datapunk_broker.observability.aside import Aside
from datapunk_broker.observability.logs import get_logger
from datapunk_broker.observability.names import MOST_SUBSCRIPTIONS, MOST_TOPICS, OTHERS, Kind, Metric
from datapunk_broker.states import DeliveryState, Settled

KEEP = 3.0
"""Seconds for which what was read is good enough for the next scrape."""

REST = 10
"""A reading that took long is kept for so many times as long."""

WITHIN = 10.0
"""Seconds that the database has to answer: Prometheus itself waits for no longer."""

BOUNDS = [*(str(bound) for bound in LATENCY_BOUNDS), "+Inf"]

FAMILIES: dict[Kind, Any] = {
    Kind.COUNTER: CounterMetricFamily,
    Kind.GAUGE: GaugeMetricFamily,
    Kind.HISTOGRAM: HistogramMetricFamily,
}

log = get_logger("metrics")


class RowsCollector:
    """A prometheus_client collector. It reads in a thread of its own, one reading at a time, not in a transaction.

    read: the reading. keep: seconds. A database that does not answer leaves these metrics out, and no others.
    """

    def __init__(self, read: Callable[[], Totals], keep: float = KEEP) -> None:
        self._read, self._keep = read, keep
        self._kept: tuple[float, Totals] | None = None
        self._aside = Aside(self._read_anew)

    def describe(self) -> Iterator[Family]:
        """Yield what there is to be, without a look at the database."""
        for metric in names.OF_THE_DATABASE:
            yield _family(metric)

    def collect(self) -> Iterator[Family]:
        """Yield what there is."""
        try:
            totals = self._totals()
        except (Error, TimeoutError) as error:
            log.warning("The database did not say what to export: %s.", type(error).__name__)
            return
        yield from families(totals)

    def _totals(self) -> Totals:
        kept = self._kept
        if kept is not None and time.monotonic() < kept[0]:
            return kept[1]
        return self._aside.result(WITHIN)

    def _read_anew(self) -> Totals:
        began = time.monotonic()
        totals = self._read()
        now = time.monotonic()
        self._kept = now + max(self._keep, REST * (now - began) if self._keep else 0.0), totals
        return totals


def families(totals: Totals) -> Iterator[Family]:
    """Say it in families of samples, of at most so many topics and subscriptions as ``names`` allows."""
    topics = [*totals.topics[:MOST_TOPICS], *_others_among(totals.topics[MOST_TOPICS:])]
    rows = [*totals.subscriptions[:MOST_SUBSCRIPTIONS], *_others(totals.subscriptions[MOST_SUBSCRIPTIONS:])]
    yield _family(names.PUBLISHED, (((t.name,), t.published) for t in topics))
    yield _family(names.DELIVERIES, (((s.name, o), ended.count) for s in rows for o, ended in s.ended.items()))
    yield _histogram(names.SECONDS, ((s.name, s.ended[Settled.ACKED]) for s in rows))
    yield _family(names.BACKLOG, (((s.name, state), count) for s in rows for state, count in s.backlog.items()))
    yield _family(names.OLDEST, (((s.name,), s.oldest_unacked) for s in rows))
    yield _family(names.DEAD_LETTERS, (((s.name, why), n) for s in rows for why, n in s.dead_letters.items()))
    yield _family(names.BREAKER, (((s.name,), float(s.is_held)) for s in rows))


def _family(metric: Metric, samples: Iterable[tuple[Sequence[str], float]] = ()) -> Family:
    family: Any = FAMILIES[metric.kind](metric.name, metric.help, labels=metric.labels)
    for labels, value in samples:
        family.add_metric(list(map(str, labels)), value)
    return cast("Family", family)


def _histogram(metric: Metric, samples: Iterable[tuple[str, Ended]] = ()) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for label, ended in samples:
        counts = accumulate(ended.buckets or [0] * len(BOUNDS))
        family.add_metric([label], list(zip(BOUNDS, counts, strict=True)), ended.seconds)
    return family


def _others_among(topics: Sequence[TopicTotals]) -> list[TopicTotals]:
    return [TopicTotals(OTHERS, sum(topic.published for topic in topics))] if topics else []


def _others(rows: Sequence[SubscriptionTotals]) -> list[SubscriptionTotals]:
    if not rows:
        return []
    letters = sum((Counter(row.dead_letters) for row in rows), Counter[str]())
    return [
        SubscriptionTotals(
            name=OTHERS,
            ended={outcome: _sum(row.ended[outcome] for row in rows) for outcome in Settled},
            backlog={state: sum(row.backlog[state] for row in rows) for state in DeliveryState},
            oldest_unacked=max(row.oldest_unacked for row in rows),
            dead_letters=letters,
            is_held=any(row.is_held for row in rows),
        )
    ]


def _sum(rows: Iterable[Ended]) -> Ended:
    total = Ended()
    for row in rows:
        total.add(row.count, row.seconds, row.buckets)
    return total
