"""Migrating a database of its own, step by step: what is declared is made when the broker's tables are there."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from tests.processes import manage, url_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[str]:
    """The URL of a database without a table."""
    if connection.vendor == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.sqlite3"
        return
    with psycopg.connect(url_of("postgres"), autocommit=True) as server:
        server.execute("DROP DATABASE IF EXISTS empty_for_this_test")
        server.execute("CREATE DATABASE empty_for_this_test")
        yield url_of("empty_for_this_test")
        server.execute("DROP DATABASE empty_for_this_test WITH (FORCE)")


def run(*arguments: str, url: str) -> str:
    done = manage(*arguments, DATABASE_URL=url)
    assert done.returncode == 0, done.stderr
    return done.stdout


def is_as_declared(url: str) -> bool:
    return manage("broker_sync", "--check", DATABASE_URL=url).returncode == 0


def test_other_apps_migrate_alone_and_the_brokers_tables_bring_what_is_declared(empty: str) -> None:
    run("migrate", "auth", url=empty)
    assert not is_as_declared(empty)
    run("migrate", url=empty)
    assert is_as_declared(empty)


def test_the_brokers_tables_may_go_and_come_again(empty: str) -> None:
    run("migrate", url=empty)
    run("migrate", "datapunk_broker", "zero", url=empty)
    run("flush", "--no-input", url=empty)
    assert not is_as_declared(empty)
    run("migrate", url=empty)
    assert is_as_declared(empty)
