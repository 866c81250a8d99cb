"""The system checks: what they find, under which id, and that none of them asks the database."""

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from celery import Celery
from django.conf import settings
from django.core import checks as django_checks
from django.core.checks.registry import CheckRegistry
from django.db import connection, connections
from django.db.backends.postgresql.base import DatabaseWrapper as PostgreSQL
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLite
from django.test import override_settings
from kombu import Queue

from datapunk_broker import checks, urls
from datapunk_broker.conf import SubscriptionConfig
from datapunk_broker.envelope import Received
from datapunk_broker.queues import QUEUES
from datapunk_broker.registry import Handler, registry
from tests.shop.celery import app as shop

GOOD_SQLITE = {
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
}
GOOD_POSTGRESQL = {"server_side_binding": True, "prepare_threshold": 0}


class MySQL(SQLite):
    vendor = "mysql"


def bill(message: Received[Any]) -> None: ...


def found(**broker: Any) -> list[django_checks.CheckMessage]:
    with override_settings(DATAPUNK_BROKER=broker):
        messages = [*checks.check_settings(), *checks.check_declared(), *checks.check_handlers()]
        return [*messages, *checks.check_database(), *checks.check_auth(), *checks.check_celery()]


def ids(**broker: Any) -> list[str]:
    return [str(message.id).removeprefix("datapunk_broker.") for message in found(**broker)]


@pytest.fixture
def _unsupported(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("unsupported", "unsupported.base"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(sys.modules["unsupported.base"], "DatabaseWrapper", MySQL, raising=False)
    yield from other_database(monkeypatch, "unsupported")


@pytest.fixture
def declared() -> Iterator[Any]:
    names: list[str] = []

    def declare(name: str, **options: Any) -> None:
        names.append(name)
        registry.add(Handler.of(bill, SubscriptionConfig(name, "orders", **options)))

    yield declare
    for name in names:
        registry.remove(name)


def other_database(monkeypatch: pytest.MonkeyPatch, engine: str) -> Iterator[None]:
    monkeypatch.setitem(connections.settings, "other", {**connection.settings_dict, "ENGINE": engine, "OPTIONS": {}})
    yield
    if hasattr(connections._connections, "other"):  # noqa: SLF001 - no one else has to know this database
        del connections["other"]


def test_a_project_as_it_should_be_is_left_in_peace() -> None:
    assert found() == []


def test_the_checks_are_registered_under_one_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    own = CheckRegistry()
    monkeypatch.setattr(django_checks, "register", own.register)
    checks.register()
    assert len(own.registered_checks) == 8
    assert own.tags_available() == {"datapunk_broker"}
    assert own.run_checks() == []


def test_every_id_is_told_of_once() -> None:
    table = str(checks.__doc__)
    every = [*(f"E00{n}" for n in range(1, 9)), *(f"W00{n}" for n in range(1, 5))]
    assert all(table.count(f"\n{each}  ") == 1 for each in every)


def test_unknown_setting_is_named_with_what_was_meant() -> None:
    [message] = found(MAX_ATTEMPS=3)
    assert message.id == "datapunk_broker.E001"
    assert "MAX_ATTEMPS" in message.msg
    assert message.hint == "Did you mean 'MAX_ATTEMPTS'?"


@pytest.mark.parametrize(
    ("broker", "words"),
    [
        ({"MAX_ATTEMPTS": "three"}, "MAX_ATTEMPTS"),
        ({"ACK_DEADLINE": 5, "TIMEOUT": 6}, "shorter than the timeout"),
        ({"TOPICS": [{"name": "orders", "typ": "direct"}]}, "typ"),
        ({"TOPICS": [{"name": "orders"}, {"name": "orders"}]}, "'orders' is declared"),
        ({"SUBSCRIPTIONS": [{"name": "s", "topic": "t", "ack_deadline": 1}]}, "shorter than the timeout"),
        ({"TOPICS": 3}, "TOPICS"),
    ],
)
def test_invalid_setting_is_named_and_stops_no_other_check(broker: dict[str, Any], words: str) -> None:
    [message] = found(**broker)
    assert message.id == "datapunk_broker.E002"
    assert words in message.msg


def test_setting_that_is_no_dict_is_reported() -> None:
    with override_settings(DATAPUNK_BROKER=["TOPICS"]):
        [message] = checks.check_settings()
        assert (message.id, checks.check_declared()) == ("datapunk_broker.E002", [])
    assert "must be a dict" in message.msg


def test_lease_shorter_than_a_timeout_is_found_where_the_handler_declares_it(declared: Any) -> None:
    declared("billing", ack_deadline=10)
    [message] = found()
    assert message.id == "datapunk_broker.E003"
    assert "'billing'" in message.msg
    assert "shorter than the timeout" in message.msg


def test_declared_subscription_is_held_against_its_declared_topic(declared: Any) -> None:
    declared("billing", ordering=True)
    assert ids() == []
    assert ids(TOPICS=[{"name": "orders", "persistent": False}]) == ["E003"]


def test_subscription_declared_in_two_places_is_found(declared: Any) -> None:
    declared("billing")
    assert ids(SUBSCRIPTIONS=[{"name": "billing", "topic": "orders"}]) == ["E004"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [("tests.test_checks:bill", []), ("tests.test_checks:nobody", ["E005"]), ("no.such:bill", ["E005"]), ("", [])],
)
def test_handler_that_cannot_be_imported_is_found(path: str, expected: list[str]) -> None:
    subscription = {"name": f"of-{path}".replace(":", "."), "topic": "orders", "handler": path}
    assert ids(SUBSCRIPTIONS=[subscription]) == expected


def test_database_that_is_not_there_is_named() -> None:
    [message] = found(DATABASE="elsewhere")
    assert message.id == "datapunk_broker.E006"
    assert "'elsewhere'" in message.msg


@pytest.mark.usefixtures("_unsupported")
def test_mysql_is_refused_by_name() -> None:
    [message] = found(DATABASE="other")
    assert message.id == "datapunk_broker.E007"
    assert "MySQL" in message.msg
    assert "PostgreSQL" in str(message.hint)


@pytest.mark.parametrize(
    ("options", "lacking"),
    [
        (GOOD_POSTGRESQL, []),
        ({"server_side_binding": True, "prepare_threshold": None}, ["prepare_threshold"]),
        ({"prepare_threshold": 5}, ["server_side_binding"]),
        ({}, ["server_side_binding", "prepare_threshold"]),
    ],
)
def test_postgresql_without_prepared_statements_is_warned_of(
    options: dict[str, Any], lacking: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    warned_of(PostgreSQL, "name", options, lacking, monkeypatch)


@pytest.mark.parametrize(
    ("name", "options", "lacking"),
    [
        ("db.sqlite3", GOOD_SQLITE, []),
        ("db.sqlite3", {**GOOD_SQLITE, "transaction_mode": "exclusive"}, []),
        ("db.sqlite3", {**GOOD_SQLITE, "init_command": "PRAGMA Journal_Mode = 'wal'"}, []),
        ("db.sqlite3", {**GOOD_SQLITE, "init_command": "PRAGMA journal_mode=DELETE"}, ["WAL"]),
        ("db.sqlite3", {**GOOD_SQLITE, "transaction_mode": "DEFERRED"}, ["immediate"]),
        ("db.sqlite3", {}, ["WAL", "immediate", "timeout"]),
        (":memory:", {}, ["immediate", "timeout"]),
        ("file:memorydb_x?mode=memory&cache=shared", {"transaction_mode": "IMMEDIATE", "timeout": 1}, []),
    ],
)
def test_sqlite_that_would_be_locked_is_warned_of(
    name: str, options: dict[str, Any], lacking: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    warned_of(SQLite, name, options, lacking, monkeypatch)


def warned_of(
    backend: type[Any], name: str, options: dict[str, Any], lacking: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = backend.__module__.removesuffix(".base")
    for _ in other_database(monkeypatch, engine):
        connections.settings["other"] |= {"NAME": name, "OPTIONS": options}
        messages = found(DATABASE="other")
    expected = {PostgreSQL: "datapunk_broker.W001", SQLite: "datapunk_broker.W002"}[backend]
    assert [message.id for message in messages] == ([expected] if lacking else [])
    assert all(word in message.msg for message in messages for word in lacking)
    assert all(message.level == django_checks.WARNING and message.hint for message in messages)


def test_project_without_users_is_told_what_is_missing() -> None:
    apps = [app for app in settings.INSTALLED_APPS if app not in {"django.contrib.auth", "django.contrib.admin"}]
    with override_settings(INSTALLED_APPS=apps):
        [message] = checks.check_auth()
    assert message.id == "datapunk_broker.E008"


def found_with(app: Celery) -> list[django_checks.CheckMessage]:
    app.set_current()
    try:
        return checks.check_celery()
    finally:
        shop.set_current()


def test_project_without_a_celery_app_is_told_to_make_one() -> None:
    [message] = found_with(Celery("default", set_as_current=False))
    assert (message.id, message.level) == ("datapunk_broker.W003", django_checks.WARNING)
    assert "__init__.py" in str(message.hint)


@pytest.mark.parametrize(
    ("conf", "lacking"),
    [
        ({}, QUEUES),
        ({"task_queues": [Queue("celery"), Queue("broker.handler")]}, QUEUES[1:]),
        ({"task_queues": [Queue(name, routing_key=name) for name in QUEUES]}, ()),
        ({"task_queues": {name: {"routing_key": name} for name in QUEUES}}, ()),
        ({"task_always_eager": True}, ()),
    ],
)
def test_queues_that_no_worker_takes_by_itself_are_warned_of(conf: dict[str, Any], lacking: tuple[str, ...]) -> None:
    app = Celery("bakery", set_as_current=False)
    app.conf.update(conf)
    messages = found_with(app)
    assert [message.id for message in messages] == (["datapunk_broker.W004"] if lacking else [])
    assert all(f"'bakery' lack {', '.join(lacking)}:" in message.msg for message in messages)
    assert all("namespace" in str(message.hint) and "--queues" in str(message.hint) for message in messages)


def test_celery_app_that_does_not_read_djangos_settings_is_found() -> None:
    with override_settings(CELERY_TASK_QUEUES=[Queue(name, routing_key=name) for name in QUEUES]):
        apart, configured = (Celery("bakery", set_as_current=False) for _ in range(2))
        configured.config_from_object("django.conf:settings", namespace="CELERY")
        assert [message.id for message in found_with(apart)] == ["datapunk_broker.W004"]
        assert found_with(configured) == []


def test_an_api_that_lacks_an_app_is_not_mounted_and_says_which() -> None:
    assert checks.check_api() == []
    lacking = [app for app in settings.INSTALLED_APPS if app not in ("rest_framework.authtoken", "drf_spectacular")]
    with override_settings(INSTALLED_APPS=lacking):
        [warning] = checks.check_api()
        mounted = [str(one.pattern) for one in importlib.reload(urls).urlpatterns]
    importlib.reload(urls)
    assert warning.id == "datapunk_broker.W005"
    assert "rest_framework.authtoken, drf_spectacular are not installed" in warning.msg
    assert "api/v1/" not in mounted
    assert "metrics" in mounted
    assert "api/v1/" in [str(one.pattern) for one in urls.urlpatterns]
