"""Real Celery workers on the test's own database, each a process that is ended by its id."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from django.db import connection

from datapunk_broker.queues import QUEUES
from tests.servers.plugin import ROOT
from tests.shop.subscribers import OPEN

LONGEST = 60.0
"""Seconds after which what should have happened is taken never to happen."""


@contextmanager
def worker(*options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a prefork worker of two processes, and wait until it is ready; what it says is shown where a test fails."""
    alone = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO")
    with tempfile.TemporaryDirectory() as folder:
        beat = ("--schedule", f"{folder}/beat")
        command = [sys.executable, "-m", "celery", "-A", "tests.shop", "worker", "-Q", ",".join(QUEUES), *alone, *beat]
        log = Path(folder, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "--concurrency", "2", *options],
                cwd=ROOT,
                env=os.environ
                | {"DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "tests.settings", OPEN: "1"},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            until(lambda: b" ready." in log.read_bytes(), process)
            yield process
        finally:
            end(process)
            sys.stderr.write(log.read_text())


def end(process: subprocess.Popen[bytes], how: signal.Signals = signal.SIGQUIT) -> None:
    """End a worker, at once unless it is asked kindly; one that does not end is killed with its children."""
    if process.poll() is None:
        process.send_signal(how)
    try:
        process.wait(LONGEST)
        wait_for_children(process)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for_children(process: subprocess.Popen[bytes]) -> None:
    """Wait until its children have ended, too: told to end at once, a worker does not wait for what they still do."""
    deadline, pause = time.monotonic() + LONGEST, threading.Event()
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            pause.wait(0.02)


def database_url() -> str:
    """Return where the test's database is, which is not where the settings say."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()


def until(condition: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    """Wait for something that a worker does."""
    deadline, pause = time.monotonic() + LONGEST, threading.Event()
    while not condition():
        assert process.poll() is None, "the worker has ended"
        assert time.monotonic() < deadline, "it never came to be"
        pause.wait(0.05)
