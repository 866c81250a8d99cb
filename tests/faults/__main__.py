"""``python -m tests.faults [DRILL …] [--short] [--seed N] [--json FILE]``: run the drills, show the results."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from random import Random

from rich.console import Console

from tests.faults.stand import Stand

console = Console(width=120)


def main(arguments: Sequence[str]) -> int:
    """Return 0 when every promise held."""
    asked = _parse(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="datapunk-broker-faults-")))
        stand = stack.enter_context(Stand(folder).running())
        from tests.faults.playing import Result, chosen, play, show  # noqa: PLC0415 - Django is set up by now

        results: list[Result] = []
        for number, drill in enumerate(chosen(asked.drills, short=asked.short)):
            seed = asked.seed + number
            began = time.monotonic()
            results.append(play(drill, stand, Random(seed), seed=seed, long=not asked.short))
            console.print(f"{drill.name}: {time.monotonic() - began:.1f} s, {results[-1].summary}")
        show(results, console)
        if asked.json:
            Path(asked.json).write_text(json.dumps([asdict(result) for result in results], indent=2))
        return 0 if all(result.holds for result in results) else 1


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("drills", nargs="*", help="names of drills; without any, all of them")
    parser.add_argument("--short", action="store_true", help="break each thing once or twice, and leave out the rest")
    parser.add_argument("--seed", type=int, default=1, help="of all that is drawn (1)")
    parser.add_argument("--json", help="a file for the results")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
