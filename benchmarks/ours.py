"""The broker's side of the same work."""

from typing import Any

from datapunk_broker import broker
from datapunk_broker.conf import TopicConfig
from datapunk_broker.pump import pump_for

TOPIC = "bench"

handled: set[Any] = set()


def make_topic() -> None:
    """Make a topic with one subscription, whose handler remembers what it got."""
    broker.create_topic(TopicConfig(TOPIC, stream=False))
    broker.subscribe(TOPIC, lambda message: handled.add(message.id), "reader")


def publish(payload: Any, count: int) -> None:
    """Publish one by one, a commit each."""
    for _ in range(count):
        broker.publish(TOPIC, payload)


def publish_many(payload: Any, count: int, batch: int) -> None:
    """Publish a batch a commit."""
    for _ in range(count // batch):
        broker.publish_many(TOPIC, [broker.Outgoing(payload) for _ in range(batch)])


def drain(expected: int) -> None:
    """Deliver all that was published; each exactly once in this run, or it is no figure."""
    handled.clear()
    done = pump_for("handler").drain()
    if not done == len(handled) == expected:
        raise RuntimeError(f"{expected} were published, {done} delivered, {len(handled)} of them different ones.")
