"""What is measured: each piece of work in the ways that it can be done, one after the other in each round."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.draining import drain, drain_raw, latency
from benchmarks.publishing import (
    bulk_create,
    create,
    fan_out,
    fan_out_raw,
    publish_batches,
    publish_ours,
    publish_raw,
    publish_raw_batches,
)
from benchmarks.work import Way


@dataclass(frozen=True, slots=True)
class Measure:
    """A piece of work. ways: by name, each of which does it and returns its figure; goals: ratios to ours, by way."""

    name: str
    unit: str
    ways: Mapping[str, Way]
    goals: Mapping[str, float] = field(default_factory=dict)
    goal: float | None = None
    less_is_more: bool = False


def measures() -> Sequence[Measure]:
    """Return them all."""
    return (
        Measure(
            "publish one by one",
            "messages/s",
            {"ours": publish_ours(atomic=False), "raw": publish_raw(atomic=False), "create()": create(atomic=False)},
            {"raw": 0.75, "create()": 1.25},
        ),
        Measure(
            "publish one by one, atomic",
            "messages/s",
            {"ours": publish_ours(atomic=True), "raw": publish_raw(atomic=True), "create()": create(atomic=True)},
            {"raw": 0.65, "create()": 1.3},
        ),
        Measure(
            "publish in batches of 500",
            "messages/s",
            {"ours": publish_batches, "raw": publish_raw_batches, "bulk_create()": bulk_create},
            {"raw": 0.9},
        ),
        Measure("drain", "messages/s", {"ours": drain(), "raw": drain_raw()}, goal=15_000),
        Measure(
            "drain, exactly once, one row each",
            "messages/s",
            {"ours": drain("effects", handler="write", delivery_mode="exactly_once")},
            goal=3_000,
        ),
        Measure("publish to 100", "deliveries/s", {"ours": fan_out(100), "raw": fan_out_raw(100)}, goal=25_000),
        Measure(
            "drain of 100",
            "deliveries/s",
            {"ours": drain("fan-out", 100, "count_each"), "raw": drain_raw("fan-out", 100)},
            goal=15_000,
        ),
        Measure("latency at 200/s, p50", "ms", {"ours": latency(50)}, goal=5, less_is_more=True),
        Measure("latency at 200/s, p99", "ms", {"ours": latency(99)}, goal=25, less_is_more=True),
    )
