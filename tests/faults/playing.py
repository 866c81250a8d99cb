"""Play a drill to its end, hold what came of it against what is promised, and show it."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from random import Random

from rich.console import Console
from rich.table import Table

from tests.faults.drills import DRILLS, Drill, Scene
from tests.faults.history import Said
from tests.faults.load import ORDERED, STREAM, Load, Row, wait
from tests.faults.stand import Stand

AROUND = 1.0
"""Seconds that all is well before something breaks, and when it is mended, while messages flow."""

COUNTS = ("published", "delivered", "lost", "duplicated", "unexpected", "reordered")

ONCE = ("exactly", "most", "hook-once", STREAM)
"""The kinds of subscription to which no message comes twice."""

DYING = ("exactly", "least", "ordered", "batch")
"""The kinds whose handlers may be told to misbehave, and are tried again."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a drill.

    recovered: seconds from the mending to an empty queue. said: how many messages the publishers knew what of.
    lacking: why it was not played.
    """

    drill: str
    seed: int
    recovered: float
    rows: tuple[Row, ...]
    said: Mapping[Said, int] = field(default_factory=dict)
    dead: int = 0
    lacking: str = ""

    @property
    def broken(self) -> list[str]:
        """Say each promise that did not hold."""
        return [f"{row.kind}: {what}" for row in self.rows for what in _broken(row, self.dead)]

    @property
    def holds(self) -> bool:
        """Whether every promise held."""
        return not self.broken

    @property
    def summary(self) -> str:
        """Say it in a line."""
        said = ", ".join(f"{count} {said}" for said, count in sorted(self.said.items()))
        held = "; ".join(self.broken) or "all held"
        return self.lacking or f"{held}; recovered in {self.recovered:.1f} s; {said}"


def _broken(row: Row, dead: int) -> Iterable[str]:
    verdict = asdict(row.verdict)
    forbidden = ["lost", "unexpected", "reordered"] if row.kind in ORDERED else ["lost", "unexpected"]
    for name in [*forbidden, "duplicated"] if row.kind in ONCE else forbidden:
        if verdict[name]:
            yield f"{verdict[name]} {name}"
    if not verdict["delivered"]:
        yield "nothing delivered"
    meant = dead if row.kind in DYING else 0
    if row.dead != meant:
        yield f"{row.dead} dead letters instead of {meant}"


def chosen(names: Sequence[str], *, short: bool) -> list[Drill]:
    """Return the drills of these names, or all of them."""
    known = {drill.name: drill for drill in DRILLS}
    if names:
        return [known[name] for name in names]
    return [drill for drill in DRILLS if drill.short or not short]


def play(drill: Drill, stand: Stand, draw: Random, *, seed: int, long: bool) -> Result:
    """Break what the drill breaks while messages flow, mend it, and count."""
    if lacking := drill.lacks(stand):
        return Result(drill.name, seed, 0.0, (), lacking=lacking)
    load = Load(stand, drill.name, seed)
    load.prepare(**drill.options)
    with load.reading():
        with load.publishing():
            wait(AROUND)
            drill.breaks(Scene(stand, load, draw, long))
            stand.heal()
            mended = time.monotonic()
            wait(AROUND)
        recovered = load.drain(since=mended)
    said = dict(Counter(message.said for message in load.published()))
    return Result(drill.name, seed, recovered, tuple(load.rows()), said, drill.dead)


def show(results: Iterable[Result], console: Console) -> None:
    """Print the table."""
    table = Table("drill", "to", *COUNTS, "dead", "recovered", title="What came of it")
    for result in results:
        for row in result.rows:
            counts = [str(asdict(row.verdict)[name]) for name in COUNTS]
            table.add_row(result.drill, row.kind, *counts, str(row.dead), f"{result.recovered:.1f} s")
        table.add_section()
    console.print(table)
