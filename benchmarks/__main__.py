"""``python -m benchmarks [PART OF A NAME …] [--rounds 3] [--json FILE]``: the figures, with their ratios.

Each round does each piece of work in each of its ways in turn, so that the machine's moods meet them all; what is
shown is the median. Every drain checks that each message arrived exactly once.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from benchmarks.stage import standing

if TYPE_CHECKING:
    from benchmarks.measures import Measure

console = Console(stderr=True, width=120)

Figures = dict[str, list[float]]


def main(arguments: Sequence[str]) -> None:
    """Measure, and say what came of it: JSON lines to standard output, a table to standard error."""
    asked = _parse(arguments)
    with standing() as stage:
        from benchmarks.measures import measures  # noqa: PLC0415 - models load when the apps are ready

        chosen = [m for m in measures() if not asked.names or any(part in m.name for part in asked.names)]
        figures: dict[str, Figures] = {m.name: {way: [] for way in m.ways} for m in chosen}
        for number in range(asked.rounds):
            for measure in chosen:
                for name, way in measure.ways.items():
                    figures[measure.name][name].append(figure := way(stage))
                    console.print(f"{number + 1}. {measure.name}: {name} {figure:,.1f} {measure.unit}")
        lines = [_line(measure, figures[measure.name]) for measure in chosen]
    for line in lines:
        print(json.dumps(line))
    if asked.json:
        Path(asked.json).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    _show(chosen, figures)


def _line(measure: "Measure", figures: Figures) -> dict[str, object]:
    ours = statistics.median(figures["ours"])
    ratios = {way: round(ours / statistics.median(rounds), 2) for way, rounds in figures.items() if way != "ours"}
    rounds = {way: [round(figure, 1) for figure in found] for way, found in figures.items()}
    return {"what": measure.name, "unit": measure.unit, "rounds": rounds, "ratios": ratios}


def _show(measures: Sequence["Measure"], figures: dict[str, Figures]) -> None:
    table = Table("work", "unit", "ours", "beside", "ratio", "goal", title="Medians")
    for measure in measures:
        ours = statistics.median(figures[measure.name]["ours"])
        goal = "" if measure.goal is None else f"{'≤' if measure.less_is_more else '≥'} {measure.goal:,.0f}"
        table.add_row(measure.name, measure.unit, f"{ours:,.1f}", "", "", goal)
        for way, rounds in figures[measure.name].items():
            if way != "ours":
                other = statistics.median(rounds)
                wanted = f"≥ {measure.goals[way]} x" if way in measure.goals else ""
                table.add_row("", "", "", f"{way} {other:,.1f}", f"{ours / other:.2f}", wanted)
    console.print(table)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of names of what to measure; without any, everything")
    parser.add_argument("--rounds", type=int, default=3, help="how often (3)")
    parser.add_argument("--json", help="a file for the JSON lines")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
