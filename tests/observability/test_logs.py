"""Logs: each line says what it is about, in one place, and nothing it should not."""

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from datapunk_broker import signals
from datapunk_broker.observability import logs
from datapunk_broker.observability.logs import BrokerFormatter, JsonFormatter, get_logger
from datapunk_broker.signals import announce
from datapunk_broker.states import BreakerState, FailureReason, Settled

ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
FAILURE: dict[str, Any] = {
    "subscription": "billing",
    "topic": "orders",
    "message_id": ID,
    "correlation_id": "c-7",
    "reason": FailureReason.TIMEOUT,
    "error_class": "HandlerTimeoutError",
}
SWEPT = {"due": 0, "lapsed": 0, "expired": 0, "dropped": 0, "folded": 0, "seconds": 0.01234}


@pytest.fixture(autouse=True)
def logs_alone(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    for signal in logs.RECEIVERS:
        monkeypatch.setattr(signal, "receivers", [])
    logs.connect()
    caplog.set_level(logging.DEBUG, logger="datapunk_broker")


def published(count: int) -> dict[str, Any]:
    return {
        "topic": "orders",
        "message_ids": (ID,) * count,
        "correlation_ids": ("c-7",) * count,
        "deliveries": 2 * count,
        "transports": frozenset({"handler"}),
        "using": "default",
    }


def record_of(caplog: pytest.LogCaptureFixture, signal: Any, **kwargs: Any) -> Any:
    announce(signal, None, **kwargs)
    (record,) = caplog.records
    return record


def test_a_line_carries_what_it_is_about_as_attributes(caplog: pytest.LogCaptureFixture) -> None:
    get_logger("deliver").info("Found %d.", 3, topic="orders", message_id=ID, correlation_id=None, attempt=2)
    (record,) = caplog.records
    assert record.name == "datapunk_broker.deliver"
    assert record.getMessage() == "Found 3."
    assert (record.topic, record.message_id) == ("orders", str(ID))  # type: ignore[attr-defined]
    assert (record.subscription, record.correlation_id) == ("-", "-")  # type: ignore[attr-defined]
    assert record.broker == {"topic": "orders", "message_id": ID, "attempt": 2}  # type: ignore[attr-defined]


def test_a_lines_own_extra_and_traceback_stay(caplog: pytest.LogCaptureFixture) -> None:
    error = ValueError("odd")
    get_logger("deliver").error("Odd.", extra={"shift": "night"}, exc_info=error, topic="orders")
    (record,) = caplog.records
    assert record.shift == "night"  # type: ignore[attr-defined]
    assert record.exc_info is not None
    assert record.exc_info[1] is error


@pytest.mark.parametrize(
    ("signal", "kwargs", "level", "about"),
    [
        (signals.published, published(1), "DEBUG", {"topic": "orders", "count": 1, "deliveries": 2}),
        (signals.publish_refused, {"topic": "x", "code": "queue_full"}, "INFO", {"code": "queue_full"}),
        (signals.attempt_failed, {**FAILURE, "attempt": 1, "retry_in": timedelta(seconds=2)}, "INFO",
         {"attempt": 1, "reason": "timeout", "error_class": "HandlerTimeoutError"}),
        (signals.attempt_failed, {**FAILURE, "attempt": 3, "retry_in": None}, "WARNING", {"attempt": 3}),
        (signals.dead_lettered, FAILURE, "WARNING", {"reason": "timeout", "subscription": "billing"}),
        (signals.breaker_changed,
         {"subscription": "billing", "state": BreakerState.OPEN, "until": datetime(2026, 1, 1, tzinfo=UTC)},
         "WARNING", {"subscription": "billing", "state": "open"}),
        (signals.claims_lost, {"subscription": "billing", "topic": "orders", "count": 2}, "WARNING", {"count": 2}),
        (signals.timeout_unguarded, {"subscription": "billing", "timeout": 15.0}, "WARNING", {"timeout": 15.0}),
        (signals.topology_changed, {"topic": "orders"}, "INFO", {"topic": "orders"}),
        (signals.swept, SWEPT, "DEBUG", {"due": 0, "seconds": 0.012}),
        (signals.swept, {**SWEPT, "lapsed": 4}, "INFO", {"lapsed": 4}),
    ],
)  # fmt: skip
def test_an_event_is_logged_at_its_level(
    caplog: pytest.LogCaptureFixture, signal: Any, kwargs: dict[str, Any], level: str, about: dict[str, Any]
) -> None:
    record = record_of(caplog, signal, **kwargs)
    assert record.levelname == level
    assert {name: record.broker[name] for name in about} == about


@pytest.mark.parametrize(
    ("outcome", "level"),
    [
        (Settled.ACKED, "DEBUG"),
        (Settled.DEAD, "DEBUG"),
        (Settled.EXPIRED, "INFO"),
        (Settled.DROPPED, "WARNING"),
    ],
)
def test_what_settled_otherwise_than_by_its_handler_is_louder(
    caplog: pytest.LogCaptureFixture, outcome: Settled, level: str
) -> None:
    record = record_of(caplog, signals.settled, subscription="billing", topic="orders", outcome=outcome, count=3)
    assert record.levelname == level
    assert record.broker["count"] == 3


def test_one_message_is_logged_by_its_id_and_many_by_their_count(caplog: pytest.LogCaptureFixture) -> None:
    announce(signals.published, None, **published(1))
    announce(signals.published, None, **published(3))
    one, many = caplog.records
    assert (one.message_id, one.correlation_id) == (str(ID), "c-7")  # type: ignore[attr-defined]
    assert (many.message_id, many.broker["count"]) == ("-", 3)  # type: ignore[attr-defined]


def test_connecting_twice_logs_once(caplog: pytest.LogCaptureFixture) -> None:
    logs.connect()
    record_of(caplog, signals.topology_changed, topic="orders")


def test_a_quiet_logger_is_not_asked_to_write_what_was_published(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="datapunk_broker")
    announce(signals.published, None, **published(2))
    assert caplog.records == []


def test_the_text_ends_with_what_it_is_about(caplog: pytest.LogCaptureFixture) -> None:
    record = record_of(caplog, signals.attempt_failed, **FAILURE, attempt=1, retry_in=timedelta(seconds=2.5))
    assert BrokerFormatter("%(levelname)s %(name)s: %(message)s").format(record) == (
        "INFO datapunk_broker.deliver: An attempt failed."
        f" message_id={ID} topic=orders subscription=billing correlation_id=c-7"
        " attempt=1 error_class=HandlerTimeoutError reason=timeout retry_in=2.5"
    )


@pytest.mark.parametrize("formatter", [BrokerFormatter(), JsonFormatter()])
def test_a_correlation_id_cannot_write_a_line_of_its_own(
    caplog: pytest.LogCaptureFixture, formatter: logging.Formatter
) -> None:
    forged = 'x\n2026-01-01 WARNING datapunk_broker: all is lost topic="y"'
    record = record_of(caplog, signals.dead_lettered, **{**FAILURE, "correlation_id": forged})
    assert "\n" not in formatter.format(record)


def test_json_is_one_object_a_line(caplog: pytest.LogCaptureFixture) -> None:
    record = record_of(caplog, signals.attempt_failed, **FAILURE, attempt=1, retry_in=timedelta(seconds=2.5))
    line = json.loads(JsonFormatter().format(record))
    assert datetime.fromisoformat(line.pop("time")).timestamp() == pytest.approx(record.created)
    assert line == {
        "level": "INFO",
        "logger": "datapunk_broker.deliver",
        "message": "An attempt failed.",
        "message_id": str(ID),
        "topic": "orders",
        "subscription": "billing",
        "correlation_id": "c-7",
        "attempt": 1,
        "reason": "timeout",
        "error_class": "HandlerTimeoutError",
        "retry_in": 2.5,
    }


@pytest.mark.parametrize("formatter", [BrokerFormatter(), JsonFormatter()])
def test_a_record_that_others_wrote_is_formatted_too(formatter: logging.Formatter) -> None:
    error = ValueError("odd")
    raised = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("other", logging.ERROR, "", 1, "Hello %s.", ("you",), raised)
    written = formatter.format(record)
    assert "Hello you." in written
    assert "topic" in written
    assert "ValueError: odd" in written


def test_any_formatter_may_name_the_attributes(caplog: pytest.LogCaptureFixture) -> None:
    record = record_of(caplog, signals.topology_changed, topic="orders")
    assert logging.Formatter("%(topic)s/%(subscription)s").format(record) == "orders/-"
