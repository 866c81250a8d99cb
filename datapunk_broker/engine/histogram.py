"""Sort latencies into the buckets that traffic is kept in."""

from bisect import bisect_left
from collections.abc import Iterable

from datapunk_broker.models import LATENCY_BOUNDS


def buckets_of(latencies: Iterable[float]) -> list[int]:
    """Return how many of these seconds fall into each bucket of ``LATENCY_BOUNDS``, the rest last."""
    buckets = [0] * (len(LATENCY_BOUNDS) + 1)
    for latency in latencies:
        buckets[bisect_left(LATENCY_BOUNDS, latency)] += 1
    return buckets


def add_buckets(one: list[int], other: list[int]) -> list[int]:
    """Return two histograms added up; an empty one is zero."""
    return [a + b for a, b in zip(one, other, strict=True)] if one and other else one or other
