"""What everything is measured on: a PostgreSQL with default durability, a Redis, and a worker of two processes."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.sink import SINK, Sink
from datapunk_broker.queues import QUEUES

START_WITHIN = 60.0
PROCESSES = 2


class Stage:
    """The servers, running; Django is set up on them, and its tables are made."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._sink = folder, folder / "sink"
        os.environ[SINK] = str(self._sink)

    def sink(self, size: int) -> Sink:
        """Return an empty sink for so many calls; workers that are started from now on leave them there."""
        return Sink.of_size(self._sink, size)

    @contextmanager
    def worker(self, processes: int = PROCESSES) -> Iterator[None]:
        """Run a Celery worker with beat meanwhile, as a project would: prefork, nothing prefetched."""
        alone = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO")
        log, pool = self.folder / "worker.log", ("--pool", "prefork", "--concurrency", str(processes))
        queues = ("--queues", ",".join(QUEUES), "--beat", "--schedule", str(self.folder / "beat"))
        command = [sys.executable, "-W", "ignore", "-m", "celery", "-A", "benchmarks", "worker", *queues, *pool, *alone]
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        try:
            _wait_until_ready(process, log)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _wait_until_ready(process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline, pause = time.monotonic() + START_WITHIN, threading.Event()
    while b" ready." not in log.read_bytes():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"The worker did not start:\n{log.read_text()[-4000:]}")
        pause.wait(0.05)


@contextmanager
def standing() -> Iterator[Stage]:
    """Start the servers, and end them."""
    os.environ["TEST_FSYNC"] = "on"
    from tests.servers.plugin import answer_of, end_guard, start_guard  # noqa: PLC0415 - after TEST_FSYNC is set

    guard = start_guard()
    try:
        os.environ.update(answer_of(guard))
        with tempfile.TemporaryDirectory(prefix="datapunk-broker-bench-") as folder:
            _make_tables()
            yield Stage(Path(folder))
    finally:
        _close_connections()
        end_guard(guard)


def _make_tables() -> None:
    import django  # noqa: PLC0415 - the settings need the servers' addresses
    import psycopg  # noqa: PLC0415

    url = urlsplit(os.environ["DATABASE_URL"])
    with psycopg.connect(url._replace(path="/postgres").geturl(), autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{url.path.removeprefix("/")}"')
    django.setup()
    from django.core.management import call_command  # noqa: PLC0415

    call_command("migrate", run_syncdb=True, verbosity=0)


def _close_connections() -> None:
    from django.db import connections  # noqa: PLC0415

    connections.close_all()
