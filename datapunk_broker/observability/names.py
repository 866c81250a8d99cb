"""Every metric of the broker, by name: what it is, and what its labels say."""

from dataclasses import dataclass
from enum import StrEnum

MOST_TOPICS, MOST_SUBSCRIPTIONS, MOST_REFUSALS = 1_000, 500, 1_000
"""So many have series of their own, the oldest ones; all others are added up in one, labelled ``OTHERS``."""

OTHERS = "(others)"
"""No topic and no subscription can be called so."""

UNKNOWN = "unknown"
"""The topic of what was meant for a topic that is not there: no label takes text from a client."""


class Kind(StrEnum):
    """What may happen to a metric's value."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. labels: the names of its labels, in order."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


PUBLISHED = Metric(
    "datapunk_broker_published_total", Kind.COUNTER, "Messages published to a topic that keeps them.", ("topic",)
)
REJECTED = Metric(
    "datapunk_broker_publish_rejected_total",
    Kind.COUNTER,
    "Publishes that this process refused, by the code of the error.",
    ("topic", "code"),
)
DELIVERIES = Metric(
    "datapunk_broker_deliveries_total",
    Kind.COUNTER,
    "Deliveries that ended, by outcome: acked, dead, expired or dropped.",
    ("subscription", "outcome"),
)
SECONDS = Metric("datapunk_broker_delivery_seconds", Kind.HISTOGRAM, "Seconds from publish to ack.", ("subscription",))
BACKLOG = Metric(
    "datapunk_broker_backlog",
    Kind.GAUGE,
    "Deliveries that have not ended, by state: scheduled, ready or claimed.",
    ("subscription", "state"),
)
OLDEST = Metric(
    "datapunk_broker_oldest_unacked_seconds",
    Kind.GAUGE,
    "Seconds for which the delivery that waits longest has been due; 0 when none is.",
    ("subscription",),
)
DEAD_LETTERS = Metric(
    "datapunk_broker_dead_letters",
    Kind.GAUGE,
    "Dead letters that nobody has redriven or discarded.",
    ("subscription", "reason"),
)
BREAKER = Metric(
    "datapunk_broker_breaker_open",
    Kind.GAUGE,
    "1 while the breaker holds a subscription's deliveries back, else 0.",
    ("subscription",),
)
WEBSOCKETS = Metric(
    "datapunk_broker_websocket_connections", Kind.GAUGE, "WebSocket connections that are open in this process."
)

OF_THE_DATABASE = (PUBLISHED, DELIVERIES, SECONDS, BACKLOG, OLDEST, DEAD_LETTERS, BREAKER)
"""Read when they are scraped, hence the same from every process."""

OF_THE_PROCESS = (REJECTED, WEBSOCKETS)
"""Each process's own."""
