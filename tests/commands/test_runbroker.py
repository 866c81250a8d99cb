import json
import os
import re
import shutil
import signal
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psycopg
import pytest
from django.conf import settings

from tests.processes import manage, running, until, url_of

EVENTS = (
    {"routing_key": "issues.opened", "payload": {"action": "opened", "issue": {"number": 1, "title": "It rains"}}},
    {
        "routing_key": "pull_request.closed",
        "headers": {"event": "pull_request", "repository": "a/b", "language": "Ruby", "private": False},
        "ordering_key": "a/b",
        "payload": {"action": "closed", "pull_request": {"number": 2, "title": "An umbrella"}},
    },
    {"routing_key": "release.created", "payload": {"action": "created"}},
    {"routing_key": "release.deleted", "payload": {"action": "deleted"}},
)

OWED = {"issues": 1, "pull_requests": 1, "tally": 4, "relay": 4, "public_ruby": 1, "announcements": 2}
"""How many of the events each subscription of the demo gets; ``audit`` waits for somebody to pull."""

DATABASE = f"runbroker_of_{os.getpid()}"
"""One of this process: others may run these tests at the same time."""


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the project's tables and what it declares."""
    file = tmp_path_factory.mktemp("empty") / "broker.sqlite3"
    migrated({"DATABASE_URL": f"sqlite:///{file}"})
    return file


@pytest.fixture
def embedded(empty: Path, tmp_path: Path) -> dict[str, str]:
    """What the environment says for everything in one process, on a SQLite file."""
    return {"DATABASE_URL": f"sqlite:///{shutil.copy(empty, tmp_path)}"}


@pytest.fixture
def servers(empty_queues: None) -> Iterator[dict[str, str]]:
    """What the environment says for a new database on the servers of this test run."""
    with psycopg.connect(url_of("postgres"), autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
        server.execute(f"CREATE DATABASE {DATABASE}")
        yield migrated({"DATABASE_URL": url_of(DATABASE), "REDIS_URL": settings.REDIS_URL})
        server.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


def migrated(env: dict[str, str]) -> dict[str, str]:
    done = manage("migrate", "--no-input", **env)
    assert done.returncode == 0, done.stderr
    return env


def rows(line: str) -> dict[str, Any]:
    """Return the subscriptions that a line of ``broker_status --json`` tells of, by name, with their books."""
    told = json.loads(line)
    return {row["name"]: {**row, **books} for row, books in zip(told["subscriptions"], told["audit"], strict=True)}


def backlog(row: dict[str, Any]) -> int:
    return sum(row["backlog"].values())


def publish(events: Iterable[dict[str, Any]], env: dict[str, str]) -> None:
    lines = "\n".join(json.dumps(event) for event in events)
    assert manage("broker_publish", "github", "--file", "-", stdin=lines, **env).returncode == 0


def drained(env: dict[str, str], matched: int = 1) -> dict[str, Any]:
    """Return what there is once ``public_ruby`` matched so many and nobody is owed anything.

    Save for ``audit``, for which nobody pulls here.
    """
    with running("broker_status", "--watch", "0.2", "--json", **env) as status:

        def settled() -> dict[str, Any] | None:
            now = rows(status.lines[-1]) if status.lines else {}
            owed = [name for name, row in now.items() if name != "audit" and backlog(row)]
            return now if now and not owed and now["public_ruby"]["matched"] == matched else None

        return until(settled, lambda: status.output)


def delivers_what_is_published(env: dict[str, str], stop: signal.Signals) -> None:
    with running("runbroker", "--port", "0", **env) as process:
        url = process.line("Serving on http").split()[2]
        with urlopen(url, timeout=10) as answer:  # noqa: S310 - it was just printed
            assert answer.status == 200
        publish(EVENTS, env)
        found = drained(env)
        code = process.end(stop)

    assert {name: found[name]["matched"] for name in OWED} == OWED
    assert {row["balance"] for row in found.values()} == {0}
    assert (found["announcements"]["acked"], found["announcements"]["dead"]) == (1, 1)
    assert found["audit"]["pending"] == len(EVENTS)
    assert code == 0, process.output
    assert process.output.endswith("Stopped.\n")
    assert process.leaves_nothing()


def test_one_process_serves_and_delivers_and_ends_when_it_is_told_to(embedded: dict[str, str]) -> None:
    delivers_what_is_published(embedded, signal.SIGTERM)


@pytest.mark.postgresql
def test_on_servers_it_does_the_same(servers: dict[str, str]) -> None:
    delivers_what_is_published(servers, signal.SIGINT)


@pytest.mark.postgresql
def test_it_goes_on_when_the_database_has_cut_its_connections(servers: dict[str, str]) -> None:
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"

    with running("runbroker", "--port", "0", "--concurrency", "2", **servers) as process:
        process.line("Serving on http")
        publish(EVENTS, servers)
        drained(servers)
        with psycopg.connect(url_of("postgres"), autocommit=True) as server:
            assert server.execute(cut, [DATABASE]).rowcount > 0
        publish(EVENTS, servers)
        found = drained(servers, matched=2)
        code = process.end()

    assert found["relay"]["acked"] == 2 * len(EVENTS)
    assert {row["balance"] for row in found.values()} == {0}
    assert code == 0, process.output


def test_what_is_under_way_is_finished_or_handed_back_before_it_ends(embedded: dict[str, str]) -> None:
    lines = "\n".join('{"payload": "fire"}' for _ in range(3000))
    assert manage("broker_publish", "alerts", "--file", "-", stdin=lines, **embedded).returncode == 0

    with running("runbroker", "--port", "0", **embedded) as process:
        until(lambda: "alarm_bell: rings" in process.output or None, lambda: process.output)
        code = process.end(signal.SIGINT)

    assert code == 0, process.output
    found = rows(manage("broker_status", "--json", **embedded).stdout)
    assert [found[name]["backlog"]["claimed"] for name in ("on_call", "alarm_bell")] == [0, 0]
    assert backlog(found["alarm_bell"]) > 0, "it ended only when all was done"
    assert {row["balance"] for row in found.values()} == {0}


def test_it_leaves_no_file_where_it_was_started(embedded: dict[str, str], tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()

    with running("runbroker", "--port", "0", cwd=here, **embedded) as process:
        process.line("Serving on http")
        assert process.end() == 0, process.output

    assert list(here.iterdir()) == []


def test_a_port_that_is_taken_is_a_sentence(embedded: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = manage("runbroker", "--port", str(taken.getsockname()[1]), **embedded)

    assert done.returncode == 1
    assert re.search(r"Cannot listen on 127\.0\.0\.1, port \d+: Address already in use", done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("wrong", [["--port", "70000"], ["--port", "http"], ["--concurrency", "0"]])
def test_a_wrong_option_is_a_sentence(wrong: list[str]) -> None:
    done = manage("runbroker", *wrong)

    assert done.returncode == 2
    assert f"argument {wrong[0]}: invalid" in done.stderr
