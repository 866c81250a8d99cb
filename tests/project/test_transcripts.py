"""What the README shows of ``curl`` is what the demo answers."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.processes import LONGEST, ROOT, manage, running

SHOWN_AT = "http://127.0.0.1:8000/"

UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
VARIES = re.compile(rf"\b[0-9a-f]{{40}}\b|{UUID}|\b\d+-[0-9a-f]{{32}}\b|\d{{4}}-\d\d-\d\dT[\d:.]+Z")
"""Tokens, ids of messages, ack ids and moments."""


@dataclass
class Shown:
    """A command of the README, and what is shown below it."""

    command: str
    answer: str


def section() -> str:
    text = (ROOT / "README.md").read_text()
    return text.partition("\n## Over HTTP\n")[2].partition("\n## ")[0]


def transcript(text: str) -> list[Shown]:
    """Take the commands, and what follows each, out of the console blocks."""
    shown: list[Shown] = []
    for line in "".join(re.findall(r"^```console\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)).splitlines():
        if line.startswith("$ "):
            shown.append(Shown(line[2:], ""))
        elif shown[-1].command.endswith("\\"):
            shown[-1].command += f"\n{line}"
        else:
            shown[-1].answer += f"{line}\n"
    return shown


class Terminal:
    """Types commands to a demo at ``url``; what varied before is known from then on."""

    def __init__(self, url: str) -> None:
        self._actual = {SHOWN_AT: url}
        self._variables: list[str] = []

    def type(self, shown: Shown) -> str:
        """Run a command and return its answer, with what varies replaced by what is shown for it."""
        command = replaced(shown.command, self._actual)
        done = bash("\n".join([*self._variables, command]))
        assert done.returncode == 0, done.stderr
        if not done.stdout:
            self._variables.append(command)
        self._actual |= dict(zip(VARIES.findall(shown.answer), VARIES.findall(done.stdout), strict=False))
        return replaced(done.stdout, {here: there for there, here in self._actual.items()}).rstrip("\n")


def bash(script: str) -> "subprocess.CompletedProcess[str]":
    command = ["bash", "-o", "pipefail", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST)


def replaced(text: str, replacements: dict[str, str]) -> str:
    for this, that in replacements.items():
        text = text.replace(this, that)
    return text


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    for program in ("bash", "curl"):
        if shutil.which(program) is None:
            pytest.fail(f"There is no {program} on the PATH. On Debian: apt-get install {program}", pytrace=False)
    password = re.search(r"DEMO_ADMIN_PASSWORD=(\S+) make demo", section())
    assert password
    env = {"DATABASE_URL": f"sqlite:///{tmp_path}/broker.sqlite3", "DEMO_ADMIN_PASSWORD": password[1]}
    assert manage("migrate", "--no-input", **env).returncode == 0
    with running("demo", "--port", "0", **env) as demo:
        yield Terminal(demo.line("Serving on http").split()[2])


def test_the_demo_answers_as_the_readme_shows(terminal: Terminal) -> None:
    shown = transcript(section())

    assert [(one.command, terminal.type(one)) for one in shown] == [
        (one.command, one.answer.rstrip("\n")) for one in shown
    ]
    said = " ".join(one.command for one in shown)
    assert all(word in said for word in ("token/", "messages/", "pull/", "ack/", "metrics"))
