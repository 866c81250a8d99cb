"""The demo project's web server on the tests' database: a process of its own, as people start it."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from django.db import connection

from tests.processes import ROOT, environment, until, url_of_test_database

OPTIONS = (
    "--lifespan",
    "off",
    "--ws",
    "websockets-sansio",
    "--ws-per-message-deflate",
    "false",
    "--timeout-keep-alive",
    "60",
)


def _url() -> str:
    """Without a pool, which would keep connections that nobody holds."""
    return url_of_test_database() + ("?pool=false" if connection.vendor == "postgresql" else "")


class Server:
    """A running server."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        self.process, self.log = process, log
        self.url = f"http://127.0.0.1:{port}"
        self.root = f"{self.url}/broker/api/v1/"

    @property
    def threads(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return httpx.get(f"{self.root}topics/", timeout=5).status_code == 401
        except httpx.TransportError:
            return False


@contextmanager
def serving(log: Path, **env: str) -> Iterator[Server]:
    """Serve on a port that nobody else has until the block ends; what it says goes to ``log``."""
    with socket.create_server(("127.0.0.1", 0)) as listener, log.open("wb") as out:
        descriptor = listener.fileno()
        command = [sys.executable, "-m", "uvicorn", "broker_project.asgi:application", *OPTIONS]
        process = subprocess.Popen(
            [*command, "--fd", str(descriptor), "--no-access-log"],
            cwd=ROOT,
            env=environment({"DATABASE_URL": _url(), **env}),
            pass_fds=[descriptor],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        port = listener.getsockname()[1]
    server = Server(process, port, log)
    try:
        until(server.is_up, log.read_text)
        yield server
    finally:
        process.terminate()
        process.wait(30)
