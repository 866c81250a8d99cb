"""The real thing as processes: PostgreSQL, Redis, two workers, beat, a web server, each to be broken alone."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from datapunk_broker.queues import QUEUES
from tests.faults.proxy import Proxy
from tests.servers import guard
from tests.servers.account import server_account
from tests.servers.binaries import find_postgresql, find_redis
from tests.servers.plugin import ROOT

START_WITHIN = 60.0
END_WITHIN = 30.0
WORKERS = 2

DATABASE = "faults"
DISK = "768m"


class Member:
    """One process of the stand, in a session of its own, that is started again under the same name."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        *,
        is_ready: Callable[[], bool],
        end_by: signal.Signals = signal.SIGTERM,
        server: bool = False,
        env: dict[str, str] | None = None,
    ) -> None:
        self.name, self.command, self.log, self.env = name, command, log, env or {}
        self.is_ready, self.end_by = is_ready, end_by
        self._account = server_account() if server else {}
        self.popen: subprocess.Popen[bytes] | None = None
        self.began_at = 0

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self.popen is not None
        return self.popen.pid

    @property
    def is_running(self) -> bool:
        """Whether it runs, or is paused."""
        return self.popen is not None and self.popen.poll() is None

    def said(self) -> str:
        """Return what it said since it was started last."""
        return self.log.read_bytes()[self.began_at :].decode(errors="replace") if self.log.exists() else ""

    def start(self, *, wait: bool = True, **env: str) -> None:
        """Start it, and wait until it is ready."""
        self.began_at = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as out:
            self.popen = subprocess.Popen(
                [*self.command],
                cwd=self.log.parent if self._account else ROOT,
                env=os.environ | self.env | env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                **self._account,
            )
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait until it serves; raises RuntimeError where it does not."""
        deadline, pause = time.monotonic() + START_WITHIN, threading.Event()
        while not self.is_ready():
            if not self.is_running or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start:\n{self.said()[-4000:]}")
            pause.wait(0.05)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it and to all of its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """Kill it with all of its children, at once."""
        self.send(signal.SIGKILL)
        if self.popen is not None:
            self.popen.wait()

    def end(self, how: signal.Signals | None = None) -> None:
        """Ask it to end, and wait; what does not end is killed."""
        if self.popen is None:
            return
        self.popen.send_signal(how or self.end_by)
        try:
            self.popen.wait(END_WITHIN)
        finally:
            self.kill()


class Stand:
    """All of them. small: PostgreSQL is on a disk of its own that can be filled, where this machine allows it."""

    def __init__(self, folder: Path, *, small: bool = True) -> None:
        self.folder, self.disk, self.effects = folder, folder / "disk", folder / "effects.log"
        self.wants_small_disk, self.disk_is_small = small, False
        self.effects.touch()
        self.disk.mkdir()
        self.database_port, self.redis_port, self.web_port, self.hook_port = (guard.free_port() for _ in range(4))
        os.environ.update(
            DATABASE_URL=self.database_url(self.database_port),
            REDIS_URL=f"redis://127.0.0.1:{self.redis_port}/0",
            DJANGO_SETTINGS_MODULE="tests.faults.settings",
            FAULTS_EFFECTS=str(self.effects),
        )
        self.proxies = [Proxy(self.database_port) for _ in range(WORKERS + 1)]

    @staticmethod
    def database_url(port: int) -> str:
        """Return the URL of the database, through a port."""
        return f"postgresql://postgres@127.0.0.1:{port}/{DATABASE}"

    @contextlib.contextmanager
    def running(self) -> Iterator["Stand"]:
        """Start everything, and end it."""
        with contextlib.ExitStack() as stack:
            if self.wants_small_disk:
                self.disk_is_small = stack.enter_context(small_disk(self.disk))
            for proxy in self.proxies:
                stack.enter_context(proxy)
            self._describe()
            stack.callback(self._end)
            self.postgresql.start()
            self.redis.start()
            migrate()
            for member in self.members:
                member.start(wait=False)
            for member in self.members:
                member.wait_until_ready()
            yield self

    @property
    def publishers_url(self) -> str:
        """The URL of the database for publishers: through the last of the proxies, which no worker uses."""
        return self.database_url(self.proxies[-1].port)

    @property
    def members(self) -> list[Member]:
        """Those that are ours, without the servers."""
        return [*self.workers, self.beat, self.web]

    def heal(self) -> None:
        """Start what does not run, and let what is paused go on."""
        for member in (self.postgresql, self.redis, *self.members):
            if member.is_running:
                member.send(signal.SIGCONT)
                member.wait_until_ready()
            else:
                member.kill()
                member.start()

    def _describe(self) -> None:
        programs, data = find_postgresql(self.folder), self.disk / "postgresql"
        guard.hand_over(self.folder)
        guard.create_cluster(programs, data)
        self.postgresql = self._server(
            "postgresql",
            [programs / "postgres", "-D", data, "-p", str(self.database_port), *_options()],
            is_ready=lambda: guard.postgresql_is_ready(data) and _answers(self.database_port),
            end_by=signal.SIGQUIT,
        )
        options = [part for name, value in guard.REDIS_OPTIONS.items() for part in (f"--{name}", value)]
        redis = [find_redis(self.folder), "--port", str(self.redis_port), "--dir", self.folder, *options]
        self.redis = self._server("redis", redis, is_ready=lambda: guard.redis_is_ready(self.redis_port))
        self.workers = [self._worker(number) for number in range(WORKERS)]
        self.beat = self.beat_named("beat")
        web = ["uvicorn", "tests.faults.asgi:application", "--port", str(self.web_port), "--lifespan", "off"]
        ws = ["--ws", "websockets-sansio", "--ws-per-message-deflate", "false"]
        self.web = self._ours("web", [*web, *ws], lambda: _answers(self.web_port))

    def beat_named(self, name: str) -> Member:
        """Return a beat, which may be a second one."""
        schedule = ["--schedule", str(self.folder / f"{name}.schedule"), "--pidfile", ""]
        beat: Member = self._ours(name, ["celery", "-A", "tests.faults", "beat", *schedule], lambda: beat.is_running)
        return beat

    def _worker(self, number: int) -> Member:
        alone = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO")
        pool = ("--pool", "prefork", "--concurrency", "2", "--queues", ",".join(QUEUES))
        command = ["celery", "-A", "tests.faults", "worker", "--hostname", f"w{number}@%h", *pool, *alone]
        through = {"DATABASE_URL": self.database_url(self.proxies[number].port)}
        worker: Member = self._ours(f"worker {number}", command, lambda: " ready." in worker.said(), **through)
        return worker

    def _ours(self, name: str, module: Sequence[str], is_ready: Callable[[], bool], **env: str) -> Member:
        command = [sys.executable, "-W", "ignore", "-m", *module]
        return Member(name, command, self.folder / f"{name.replace(' ', '-')}.log", is_ready=is_ready, env=env)

    def _server(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        is_ready: Callable[[], bool],
        end_by: signal.Signals = signal.SIGTERM,
    ) -> Member:
        log = self.folder / f"{name}.log"
        return Member(name, command, log, is_ready=is_ready, end_by=end_by, server=True)

    def _end(self) -> None:
        for member in reversed([self.postgresql, self.redis, *self.members]):
            if member.popen is not None:
                member.send(signal.SIGCONT)
                member.kill() if member in self.members else member.end()


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a disk of some hundred megabytes, where that is allowed."""
    mount = [
        shutil.which("mount") or "/bin/mount",
        "-t",
        "tmpfs",
        "-o",
        f"size={DISK}",
        "datapunk-broker-faults",
        str(folder),
    ]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run([shutil.which("umount") or "/bin/umount", "--lazy", str(folder)], check=True)


def migrate() -> None:
    """Create the database and its tables."""
    import django  # noqa: PLC0415 - its settings need the servers' addresses
    import psycopg  # noqa: PLC0415

    url = os.environ["DATABASE_URL"].removesuffix(DATABASE) + "postgres"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {DATABASE}")
    django.setup()
    from django.core.management import call_command  # noqa: PLC0415

    call_command("migrate", verbosity=0)


def _options() -> list[str]:
    options = {**guard.POSTGRESQL_OPTIONS, "max_wal_size": "128MB"}
    return [f"--{name}={value}" for name, value in options.items()]


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
