"""The demo project's own processes, as people start them: real ones, with an environment of their own."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from django.db import connection

from tests.servers.plugin import ROOT

LONGEST = 60.0
"""Seconds after which a process that should have done something is taken to hang."""

OURS = ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "SECRET_KEY", "DEBUG", "DEMO_ADMIN_PASSWORD")

T = TypeVar("T")

_pause = threading.Event()


class Process:
    """A process under way; its lines are read as they come."""

    def __init__(self, command: list[str | Path], env: Mapping[str, str], cwd: Path) -> None:
        self.lines: list[str] = []
        self.popen = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def line(self, beginning: str) -> str:
        """Return the first line that begins so, as soon as it is there."""

        def found() -> str | None:
            assert self.popen.poll() is None or self._reader.is_alive() or self._find(beginning), self.output
            return self._find(beginning)

        return until(found, lambda: f"no line begins with {beginning!r}:\n{self.output}")

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; return its exit code."""
        self.popen.send_signal(how)
        code = self.popen.wait(LONGEST)
        self._reader.join(LONGEST)
        return code

    def leaves_nothing(self) -> bool:
        """Return whether no process of its session is left."""
        try:
            os.killpg(self.popen.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def _find(self, beginning: str) -> str | None:
        return next((line.rstrip("\n") for line in self.lines if line.startswith(beginning)), None)

    def _read(self) -> None:
        assert self.popen.stdout
        with self.popen.stdout as lines:
            for line in lines:
                self.lines.append(line)


@contextmanager
def running(*arguments: str, cwd: Path = ROOT, **env: str) -> Iterator[Process]:
    """Run a command of manage.py beside the test."""
    process = Process([sys.executable, ROOT / "manage.py", *arguments], env, cwd)
    try:
        yield process
    finally:
        if process.popen.poll() is None:
            process.popen.kill()
            process.popen.wait()


def manage(*arguments: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command of manage.py to its end."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment(env),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without what it says of the project, and with ``env``."""
    inherited = {name: value for name, value in os.environ.items() if name not in OURS}
    defaults = {"DJANGO_SETTINGS_MODULE": "broker_project.settings", "PYTHONUNBUFFERED": "1"}
    return {**inherited, **defaults, "SECRET_KEY": "protects nothing", **env}


def url_of_test_database() -> str:
    """Return the URL of the database that this test runs on, for other processes to see what it committed."""
    settings = connection.settings_dict
    return url_of(str(settings["NAME"]))


def url_of(name: str) -> str:
    """Return the URL of a database by its name, on the same server as this test's."""
    settings: dict[str, Any] = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return f"postgresql://{settings['USER']}@{settings['HOST']}:{settings['PORT']}/{name}"


def until(look: Callable[[], T | None], why_not: Callable[[], str], seconds: float = LONGEST) -> T:
    """Look until there is something, and return it."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, why_not()
        _pause.wait(0.05)
    return found
