"""Nobody fills the disk: a body that is too large is refused while it comes, whatever it says of its length."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from broker_project.bodies import LARGEST
from tests.api.serving import Server, serving

pytestmark = pytest.mark.django_db(transaction=True)

CHUNK = b"x" * 65536


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "log") as server:
        yield server


def chunks(size: int) -> Iterator[bytes]:
    for _ in range(size // len(CHUNK)):
        yield CHUNK


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_sent(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=10) as client:
        client.sendall(f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {LARGEST + 1}\r\n\r\n".encode())
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_body_without_a_length_is_cut_off_where_it_is_too_large(server: Server) -> None:
    with httpx.Client() as client:
        try:
            response = client.post(f"{server.root}topics/", content=chunks(LARGEST * 4), timeout=30)
        except httpx.WriteError:  # refused and closed while the client was still writing
            return
    assert response.status_code == 413
    assert response.json()["code"] == "message_too_large"


def test_a_body_within_the_limit_reaches_the_application(server: Server) -> None:
    response = httpx.post(f"{server.root}topics/", content=chunks(LARGEST // 2), timeout=30)
    assert response.status_code == 401
