"""Start the servers of one test run, and end them when that run has ended, however it ended.

It is a process of its own, so that a test run that is killed leaves nothing behind.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.servers.account import hand_over, server_account
from tests.servers.binaries import NoServerError, find_postgresql, find_redis, given

START_SECONDS = 60
STOP_SECONDS = 20
POSTGRESQL_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "fsync": os.environ.get("TEST_FSYNC", "off"),  # the benchmarks write as durably as production
}
REDIS_OPTIONS = {"bind": "127.0.0.1", "save": "", "databases": "64"}


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with (
        tempfile.TemporaryDirectory(prefix="datapunk-broker-tests-") as name,
        contextlib.ExitStack() as running,
    ):
        folder = Path(name)
        hand_over(folder)
        try:
            answer = start(folder, running)
        except NoServerError as error:
            answer = {"error": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
        wait_for_the_end_of_the_run()


def start(folder: Path, running: contextlib.ExitStack) -> dict[str, str]:
    databases = {"postgresql": postgresql, "sqlite": sqlite}
    asked = os.environ.get("TEST_DATABASE") or "postgresql"
    if asked not in databases:
        raise NoServerError(f"TEST_DATABASE is {asked!r}; it may be 'postgresql' or 'sqlite'.")
    return {
        "DATABASE_URL": running.enter_context(databases[asked](folder)),
        "REDIS_URL": running.enter_context(redis(folder)),
    }


def wait_for_the_end_of_the_run() -> None:
    # A forked child of the test run may hold the pipe open for longer, so the parent is watched as well.
    parent = os.getppid()
    while os.getppid() == parent and not select.select([sys.stdin], [], [], 1)[0]:
        pass


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    if url := given("TEST_DATABASE_URL"):
        yield url
        return
    programs, data, port = find_postgresql(folder), folder / "postgresql", free_port()
    create_cluster(programs, data)
    options = [f"--{name}={value}" for name, value in POSTGRESQL_OPTIONS.items()]
    command: list[str | Path] = [programs / "postgres", "-D", data, "-p", str(port), *options]
    with server(command, folder, stop_signal=signal.SIGQUIT) as process:
        wait_until(lambda: postgresql_is_ready(data), process, folder)
        yield f"postgresql://postgres@127.0.0.1:{port}/datapunk_broker"


@contextlib.contextmanager
def sqlite(folder: Path) -> Iterator[str]:
    yield f"sqlite:///{folder}/datapunk_broker.sqlite3"


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[str]:
    if url := given("TEST_REDIS_URL"):
        yield url
        return
    port = free_port()
    options = [part for name, value in REDIS_OPTIONS.items() for part in (f"--{name}", value)]
    command: list[str | Path] = [find_redis(folder), "--port", str(port), "--dir", folder, *options]
    with server(command, folder, stop_signal=signal.SIGTERM) as process:
        wait_until(lambda: redis_is_ready(port), process, folder)
        yield f"redis://127.0.0.1:{port}"


def create_cluster(programs: Path, data: Path) -> None:
    options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    made = subprocess.run(
        [programs / "initdb", "-D", data, *options],
        cwd=data.parent,
        capture_output=True,
        text=True,
        check=False,
        **server_account(),
    )
    if made.returncode != 0:
        raise NoServerError(f"{programs}/initdb failed:\n{made.stderr}")


@contextlib.contextmanager
def server(command: list[str | Path], folder: Path, stop_signal: signal.Signals) -> Iterator[subprocess.Popen[bytes]]:
    with log_of(folder).open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **server_account(),
        )
    try:
        yield process
    finally:
        process.send_signal(stop_signal)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
        if process.returncode is not None or time.monotonic() > deadline:
            raise NoServerError(f"{process.args!r} did not start:\n{log_of(folder).read_text()[-4000:]}")


def postgresql_is_ready(data: Path) -> bool:
    pid_file = data / "postmaster.pid"
    lines = pid_file.read_text().splitlines() if pid_file.exists() else []
    return lines[7:] == ["ready   "]


def redis_is_ready(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def log_of(folder: Path) -> Path:
    return folder / "servers.log"


if __name__ == "__main__":
    main()
