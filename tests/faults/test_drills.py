"""Each drill in its short form, on servers and processes of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.plugin import ROOT

SHORT = 17
"""How many drills need nothing that a machine may lack."""

FEWEST = 30
"""Messages that each of them publishes at least."""


@pytest.mark.postgresql
@pytest.mark.timeout(600)
def test_what_is_promised_holds_while_things_break(tmp_path: Path) -> None:
    found = tmp_path / "results.json"
    command = [sys.executable, "-W", "ignore", "-m", "tests.faults", "--short", "--json", str(found)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stdout + run.stderr
    results = json.loads(found.read_text())
    assert len(results) == SHORT
    for result in results:
        assert {row["kind"] for row in result["rows"]} >= {"exactly", "least", "most", "ordered", "batch"}
        assert min(row["verdict"]["published"] for row in result["rows"]) >= FEWEST, result
