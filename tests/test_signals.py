"""The event door: who hears what, when, and that no listener breaks it."""

import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction

from datapunk_broker import signals
from datapunk_broker.signals import Event, announce, announce_on_commit


class Heard:
    """A receiver that keeps what it hears; without a ``__qualname__``, as partials are."""

    def __init__(self, error: Exception | None = None) -> None:
        self.events: list[dict[str, Any]] = []
        self.error = error

    def __call__(self, sender: object, signal: object, **kwargs: Any) -> None:
        self.events.append(kwargs)
        if self.error:
            raise self.error


@pytest.fixture
def event() -> Event:
    return Event()


@pytest.fixture
def heard(event: Event) -> Heard:
    listener = Heard()
    event.connect(listener)
    return listener


@pytest.fixture
def by_hand() -> Iterator[None]:
    transaction.set_autocommit(False)
    yield
    transaction.rollback()
    transaction.set_autocommit(True)


def refuse(**_: object) -> None:
    msg = "no room"
    raise OSError(msg)


def test_a_listener_hears_what_is_announced(event: Event, heard: Heard) -> None:
    announce(event, None, topic="orders")
    assert heard.events == [{"topic": "orders"}]


def test_nothing_happens_when_nobody_listens(event: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event, "send_robust", refuse)
    announce(event, None, topic="orders")


@pytest.mark.parametrize("listener", [refuse, partial(refuse, more=1), Heard(OSError("no room"))])
def test_a_failing_listener_breaks_neither_the_caller_nor_the_others(event: Event, listener: Any) -> None:
    last = Heard()
    event.connect(listener, weak=False)
    event.connect(last)
    announce(event, None, topic="orders")
    assert last.events == [{"topic": "orders"}]


@pytest.mark.parametrize(
    ("listener", "name"), [(refuse, "refuse"), (partial(refuse), "refuse"), (Heard(OSError()), "Heard")]
)
def test_a_failing_listener_is_logged_once_by_its_name(
    event: Event, listener: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    event.connect(listener, weak=False)
    for _ in range(3):
        announce(event, None, topic="orders")
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.name == "datapunk_broker.signals"
    assert f"{__name__}.{name} failed" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is OSError


def test_another_failure_of_the_same_listener_is_logged_too(event: Event, caplog: pytest.LogCaptureFixture) -> None:
    listener = Heard(OSError())
    event.connect(listener)
    announce(event, None)
    listener.error = KeyError()
    announce(event, None)
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [OSError, KeyError]


@pytest.mark.django_db
def test_what_waits_for_the_commit_is_heard_after_it(
    event: Event, heard: Heard, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks() as callbacks:
        announce_on_commit(event, None, "default", topic="orders")
    assert heard.events == []
    (callback,) = callbacks
    callback()
    assert heard.events == [{"topic": "orders", "using": "default"}]


@pytest.mark.django_db(transaction=True)
def test_what_is_rolled_back_is_never_heard(event: Event, heard: Heard) -> None:
    with transaction.atomic():
        announce_on_commit(event, None, "default", topic="kept")
        with transaction.atomic():
            announce_on_commit(event, None, "default", topic="undone")
            transaction.set_rollback(True)
        assert heard.events == []
    assert [kwargs["topic"] for kwargs in heard.events] == ["kept"]


@pytest.mark.django_db(transaction=True)
def test_without_a_transaction_it_is_heard_at_once(event: Event, heard: Heard) -> None:
    announce_on_commit(event, None, "default", topic="orders")
    assert len(heard.events) == 1


@pytest.mark.django_db(transaction=True)
def test_a_failing_listener_does_not_cancel_other_callbacks_of_the_commit(event: Event) -> None:
    done = []
    event.connect(refuse)
    with transaction.atomic():
        announce_on_commit(event, None, "default", topic="orders")
        transaction.on_commit(lambda: done.append(True))
    assert done == [True]


@pytest.mark.django_db
def test_nothing_waits_for_the_commit_when_nobody_listens(event: Event) -> None:
    before = len(connection.run_on_commit)
    announce_on_commit(event, None, "default", topic="orders")
    assert len(connection.run_on_commit) == before


@pytest.mark.django_db(transaction=True)
def test_a_connection_managed_by_hand_is_left_alone(event: Event, heard: Heard, by_hand: None) -> None:
    announce_on_commit(event, None, "default", topic="orders")
    assert heard.events == []


def test_every_event_has_a_name() -> None:
    names = {name for name, value in vars(signals).items() if isinstance(value, Event)}
    assert names == {
        "published",
        "published_live",
        "publish_refused",
        "claims_lost",
        "appended",
        "settled",
        "attempt_failed",
        "dead_lettered",
        "swept",
        "topology_changed",
        "breaker_changed",
        "timeout_unguarded",
    }
