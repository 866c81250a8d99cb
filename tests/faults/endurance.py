"""``python -m tests.faults.endurance [--minutes 30] [--every 20] [--seed N] [--json FILE]``: half of what it can do.

For that long, with something broken every so many seconds; then every message is counted, and the memory of each
process compared with what it was once it was warm.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.faults.gauges import Gauges
from tests.faults.stand import Stand

if TYPE_CHECKING:
    from tests.faults.playing import Result

BACKLOG = 3000
"""Messages by which the capacity is measured."""

KEYS = 100
WARM_PART = 1 / 6
GROWTH = 0.10

UNFIT = {"disk-full", "clock-shifted", "poison"}
"""Drills that want another disk, another clock, or other options."""

console = Console(width=120)


def main(arguments: Sequence[str]) -> int:
    """Return 0 when every promise held and no memory grew."""
    asked = _parse(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="datapunk-broker-endurance-")))
        stand = stack.enter_context(Stand(folder, small=False).running())
        capacity = measure(stand, asked.seed)
        console.print(f"Capacity: {capacity:.0f} messages/s, each to eight subscriptions and a stream.")
        gauges, seconds = Gauges(), asked.minutes * 60
        result = endure(stand, gauges, rate=capacity / 2, seconds=seconds, every=asked.every, seed=asked.seed)
        growth = gauges.growth(seconds * WARM_PART, seconds)
        show(result, gauges, growth)
        if asked.json:
            found = {"capacity": capacity, "result": asdict(result), "growth": growth, "gauges": asdict(gauges)}
            Path(asked.json).write_text(json.dumps(found, indent=2))
        return 0 if result.holds and max(growth.values()) <= GROWTH else 1


def measure(stand: Stand, seed: int) -> float:
    """Return how many messages a second the stand delivers from a backlog to everybody."""
    from datapunk_broker import broker  # noqa: PLC0415 - Django is set up by now
    from tests.faults.load import Load  # noqa: PLC0415

    load = Load(stand, "capacity", seed)
    load.prepare()
    with load.reading():
        began = time.monotonic()
        for start in range(0, BACKLOG, 500):
            numbers = range(start, start + 500)
            broker.publish_many(
                load.name, [broker.Outgoing({"number": n, "do": ""}, ordering_key=str(n % KEYS)) for n in numbers]
            )
        return BACKLOG / load.drain(since=began)


def endure(stand: Stand, gauges: Gauges, *, rate: float, seconds: float, every: float, seed: int) -> "Result":
    """Publish so many messages a second for so long, break something every so often, and count."""
    from django.db import connection  # noqa: PLC0415 - Django is set up by now

    from tests.faults.drills import DRILLS, Scene  # noqa: PLC0415
    from tests.faults.load import PUBLISHERS, Load, wait  # noqa: PLC0415
    from tests.faults.playing import Result  # noqa: PLC0415

    fit, draw = [drill for drill in DRILLS if drill.name not in UNFIT], Random(seed)
    load = Load(stand, "endurance", seed, rate / PUBLISHERS)
    load.prepare()
    with load.reading():
        with load.publishing(), gauges.watching(stand):
            began = time.monotonic()
            for number in track(range(1, int(seconds / every) + 1), "Enduring", console=console):
                wait(max(0.0, began + number * every - time.monotonic()))
                drill = draw.choice(fit)
                connection.close()  # the fault before may have broken it
                drill.breaks(Scene(stand, load, draw, long=False))
                stand.heal()
                console.log(f"{drill.name}; {load.waiting():,} deliveries wait")
        recovered = load.drain(since=time.monotonic())
    said = dict(Counter(message.said for message in load.published()))
    return Result(load.name, seed, recovered, tuple(load.rows()), said)


def show(result: "Result", gauges: Gauges, growth: dict[str, float]) -> None:
    """Print what came of it."""
    from tests.faults.playing import show as show_counts  # noqa: PLC0415 - Django is set up by now

    show_counts([result], console)
    console.print(result.summary)
    memory = Table("process", "median, MiB", "most, MiB", "grown", title="Memory of its own")
    for name, seen in gauges.memory.items():
        sizes = sorted(size / 2**20 for _, size in seen)
        memory.add_row(name, f"{sizes[len(sizes) // 2]:.1f}", f"{sizes[-1]:.1f}", f"{growth[name]:+.1%}")
    tables = Table("table", "at the end, MiB", "most, MiB", "most dead tuples", title="Tables with their indexes")
    for name, rows in sorted(gauges.tables.items()):
        largest, most_dead = max(row.size for _, row in rows), max(row.dead for _, row in rows)
        tables.add_row(name, f"{rows[-1][1].size / 2**20:.1f}", f"{largest / 2**20:.1f}", f"{most_dead:,}")
    console.print(memory, tables)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.endurance", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="how long (30)")
    parser.add_argument("--every", type=float, default=20, help="seconds between faults (20)")
    parser.add_argument("--seed", type=int, default=1, help="of all that is drawn (1)")
    parser.add_argument("--json", help="a file for what was seen")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
