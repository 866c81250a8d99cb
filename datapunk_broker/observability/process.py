"""Count what only this process knows: what it refused, and who is connected to it."""

from typing import Any

from prometheus_client import Counter, Gauge

from datapunk_broker import signals
from datapunk_broker.exceptions import TopicNotFoundError
from datapunk_broker.observability.names import MOST_REFUSALS, OTHERS, REJECTED, UNKNOWN, WEBSOCKETS

# Not registered on their own: the exporter shows them, and reloading this module makes no second ones.
rejected = Counter(REJECTED.name, REJECTED.help, REJECTED.labels, registry=None)
websockets = Gauge(WEBSOCKETS.name, WEBSOCKETS.help, registry=None, multiprocess_mode="livesum")

_series: set[tuple[str, str]] = set()


def websocket_opened() -> None:
    """Count one more WebSocket connection; each needs its ``websocket_closed``."""
    websockets.inc()


def websocket_closed() -> None:
    """Count one fewer."""
    websockets.dec()


def connect() -> None:
    """Listen to what is refused."""
    signals.publish_refused.connect(_publish_refused, dispatch_uid="datapunk_broker.observability.process")


def _publish_refused(topic: str, code: str, **_: Any) -> None:
    topic = UNKNOWN if code == TopicNotFoundError.code else topic
    if (topic, code) not in _series and len(_series) >= MOST_REFUSALS:
        topic = OTHERS
    _series.add((topic, code))
    rejected.labels(topic, code).inc()
