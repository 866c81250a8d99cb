"""``python -m benchmarks``: messages a second, three rounds in turn, and the ratio to the peer of the same run.

One JSON line a figure goes to standard output; the table goes to standard error.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable

ROUNDS, ONE_BY_ONE, IN_BATCHES, BATCH = 3, 1_000, 10_000, 500
PAYLOAD = {"id": 7, "text": "x" * 1_000}

os.environ.setdefault("TEST_FSYNC", "on")


def main() -> None:
    """Start the servers, measure, and say what came of it."""
    from tests.servers.plugin import answer_of, end_guard, start_guard  # noqa: PLC0415 - after TEST_FSYNC is set

    guard = start_guard()
    try:
        os.environ.update(answer_of(guard), DJANGO_SETTINGS_MODULE="tests.settings")
        report(measure())
    finally:
        end_guard(guard)


def measure() -> dict[str, list[float]]:
    """Return messages a second, by what was done."""
    import django  # noqa: PLC0415 - the settings need the servers' addresses
    from django.test.runner import DiscoverRunner  # noqa: PLC0415

    django.setup()
    from benchmarks import naive, ours  # noqa: PLC0415 - models load when the apps are ready

    runner = DiscoverRunner(verbosity=0, interactive=False)
    databases = runner.setup_databases()
    try:
        naive.make_table()
        ours.make_topic()
        ours.publish(PAYLOAD, 10)
        ours.drain(10)
        work: dict[str, tuple[int, Callable[[], None]]] = {
            "Message.objects.create()": (ONE_BY_ONE, lambda: naive.create(PAYLOAD, ONE_BY_ONE)),
            "broker.publish()": (ONE_BY_ONE, lambda: ours.publish(PAYLOAD, ONE_BY_ONE)),
            "bulk_create(), 500 a batch": (IN_BATCHES, lambda: naive.bulk_create(PAYLOAD, IN_BATCHES, BATCH)),
            "publish_many(), 500 a batch": (IN_BATCHES, lambda: ours.publish_many(PAYLOAD, IN_BATCHES, BATCH)),
            "drain, one pump": (ONE_BY_ONE + IN_BATCHES, lambda: ours.drain(ONE_BY_ONE + IN_BATCHES)),
        }
        figures: dict[str, list[float]] = {name: [] for name in work}
        for _ in range(ROUNDS):
            for name, (count, act) in work.items():
                figures[name].append(count / seconds(act))
        return figures
    finally:
        runner.teardown_databases(databases)


def seconds(act: Callable[[], None]) -> float:
    """Return how long it takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def report(figures: dict[str, list[float]]) -> None:
    """Print the figures, and for publishing the ratio to the peer above it."""
    before = 0.0
    for name, rounds in figures.items():
        middle = statistics.median(rounds)
        ratio = round(middle / before, 2) if "publish" in name else None
        print(json.dumps({"what": name, "per_second": round(middle), "rounds": [*map(round, rounds)], "ratio": ratio}))
        print(f"{name:30}{middle:10,.0f}/s{f'{ratio:8} x the line above' if ratio else ''}", file=sys.stderr)
        before = middle


if __name__ == "__main__":
    main()
