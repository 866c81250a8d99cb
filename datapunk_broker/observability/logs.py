"""Every line the broker logs passes here, and says which message, topic and subscription it is about.

The records live under the logger ``datapunk_broker``. Each has the attributes ``message_id``, ``topic``,
``subscription`` and ``correlation_id`` ("-" where there is none), for any formatter, and all that is known of
it as ``record.broker``, which the formatters here write. Payloads, headers and secrets are never among that.
"""

import json
import logging
import re
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.dispatch import Signal

from datapunk_broker import signals
from datapunk_broker.states import FailureReason, Settled

CONTEXT = ("message_id", "topic", "subscription", "correlation_id")
ABSENT = "-"

_PLAIN = re.compile(r"[\w./:+-]+", re.ASCII)
_LOGGING_OPTIONS = frozenset({"exc_info", "stack_info", "stacklevel", "extra"})


class BrokerLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger that takes what a line is about as keyword arguments: ``log.info("…", topic="orders")``."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        about = {name: kwargs.pop(name) for name in tuple(kwargs) if name not in _LOGGING_OPTIONS}
        about = {name: value for name, value in about.items() if value is not None}
        context = {name: str(about.get(name, ABSENT)) for name in CONTEXT}
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **context, "broker": about}
        return msg, kwargs


def get_logger(area: str) -> BrokerLogger:
    """Return the logger of one area of the broker: ``get_logger("deliver")``."""
    return BrokerLogger(logging.getLogger(f"datapunk_broker.{area}"))


class BrokerFormatter(logging.Formatter):
    """Write a record as text, followed by what it is about as ``key=value``."""

    def __init__(
        self, fmt: str = "%(asctime)s %(levelname)s %(name)s: %(message)s", *args: Any, **options: Any
    ) -> None:
        super().__init__(fmt, *args, **options)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        pairs = "".join(f" {name}={_quoted(value)}" for name, value in _about(record).items())
        return super().formatMessage(record) + pairs


class JsonFormatter(logging.Formatter):
    """Write a record as one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_about(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=_json_value)


def _about(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a record is about: the four first, always; also for records that others wrote."""
    return {**{name: getattr(record, name, ABSENT) for name in CONTEXT}, **getattr(record, "broker", {})}


def _json_value(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _quoted(value: Any) -> str:
    # A publisher chooses correlation ids: one with a line break in it must not write a line of its own.
    text = str(_json_value(value))
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


publishing = get_logger("publish")
delivering = get_logger("deliver")
sweeping = get_logger("sweep")
topology = get_logger("topology")


def _published(
    topic: str,
    message_ids: tuple[UUID, ...],
    correlation_ids: tuple[str | None, ...],
    deliveries: int,
    **_: object,
) -> None:
    if not publishing.isEnabledFor(logging.DEBUG):
        return
    count = len(message_ids)
    one: dict[str, Any] = {"message_id": message_ids[0], "correlation_id": correlation_ids[0]} if count == 1 else {}
    publishing.debug("Published.", topic=topic, count=count, deliveries=deliveries, **one)


def _publish_refused(topic: str, code: str, **_: object) -> None:
    publishing.info("Refused to publish.", topic=topic, code=code)


_SETTLED_LEVELS = {Settled.ACKED: logging.DEBUG, Settled.DEAD: logging.DEBUG, Settled.EXPIRED: logging.INFO}


def _settled(subscription: str, topic: str, outcome: Settled, count: int, **_: object) -> None:
    # Each death has a line of its own, hence no second one above debug.
    level = _SETTLED_LEVELS.get(outcome, logging.WARNING)
    delivering.log(level, "Settled.", subscription=subscription, topic=topic, outcome=outcome, count=count)


def _attempt_failed(reason: FailureReason, retry_in: timedelta | None, **about: Any) -> None:
    level = logging.WARNING if retry_in is None else logging.INFO
    sentence = "An attempt failed, the last." if retry_in is None else "An attempt failed."
    delivering.log(level, sentence, **_failure(about), reason=reason, retry_in=retry_in)


def _dead_lettered(reason: FailureReason, **about: Any) -> None:
    delivering.warning("Dead-lettered.", **_failure(about), reason=reason)


def _breaker_changed(subscription: str, state: str, until: datetime | None, **_: object) -> None:
    delivering.warning("The breaker changed.", subscription=subscription, state=state, until=until)


def _claims_lost(subscription: str, topic: str, count: int, **_: object) -> None:
    sentence = "Claims were lost: their leases ended before they were settled. Raise ack_deadline."
    delivering.warning(sentence, subscription=subscription, topic=topic, count=count)


def _timeout_unguarded(subscription: str, timeout: float, **_: object) -> None:
    sentence = (
        "Nothing stops this handler after its timeout: it runs in a thread. When its lease ends another worker begins "
        "anew beside it. Use a prefork worker, or make it asynchronous."
    )
    delivering.warning(sentence, subscription=subscription, timeout=timeout)


def _swept(seconds: float, **counts: Any) -> None:
    found = {name: counts.get(name, 0) for name in ("due", "lapsed", "expired", "dropped", "folded")}
    level = logging.INFO if any(found.values()) else logging.DEBUG
    sweeping.log(level, "Swept.", **found, seconds=round(seconds, 3))


def _topology_changed(topic: str, **_: object) -> None:
    topology.info("The topology changed.", topic=topic)


def _failure(about: dict[str, Any]) -> dict[str, Any]:
    names = ("subscription", "topic", "message_id", "correlation_id", "attempt", "error_class", "where")
    return {name: about[name] for name in names if name in about}


RECEIVERS: dict[Signal, Callable[..., None]] = {
    signals.published: _published,
    signals.publish_refused: _publish_refused,
    signals.settled: _settled,
    signals.attempt_failed: _attempt_failed,
    signals.dead_lettered: _dead_lettered,
    signals.breaker_changed: _breaker_changed,
    signals.claims_lost: _claims_lost,
    signals.timeout_unguarded: _timeout_unguarded,
    signals.swept: _swept,
    signals.topology_changed: _topology_changed,
}
"""What is logged of which event. Claims are not: a line each would drown the rest."""


def connect() -> None:
    """Log what the signals announce; connecting again changes nothing."""
    for signal, receiver in RECEIVERS.items():
        signal.connect(receiver, dispatch_uid="datapunk_broker.observability.logs")
