"""For the tests of projects that use the broker: deliver in this process, and look at what was published.

They work in a ``TestCase`` or under ``@pytest.mark.django_db``, and need neither Celery nor Redis::

    def test_an_order_is_billed(self):
        place_order(7)                                                # publishes to "orders"
        drain()                                                       # runs the subscribers of "orders", here
        assert_published("invoices", {"order": 7}, routing_key="eu")  # which publish in their turn

A handler runs as in a worker, on the test's database connection. Two things are as in any test that is one
transaction: a statement that fails in a handler spoils the whole test (use ``transaction=True`` there, or a
``TransactionTestCase``), and what waits for a commit waits for ever: messages of topics that store nothing
among it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models.functions import Now

from datapunk_broker import broker
from datapunk_broker.conf import get_config
from datapunk_broker.models import Delivery, Message
from datapunk_broker.payload import decode, decompress, encode
from datapunk_broker.pump import pump_for
from datapunk_broker.states import DeliveryState, Encoding, Transport

ROUNDS = 1_000
"""Handlers that publish for one another without end are stopped after so many rounds."""

_LARGEST = 2**31


@dataclass(frozen=True, slots=True)
class Drained:
    """What was done: how often a message was handed to a handler, and how many were added to streams."""

    handled: int = 0
    streamed: int = 0

    def __add__(self, other: "Drained") -> "Drained":
        return Drained(self.handled + other.handled, self.streamed + other.streamed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One message that was published, its payload decoded: JSON's values, or bytes of another content type."""

    id: UUID
    topic: str
    payload: Any
    routing_key: str
    headers: Mapping[str, Any]
    priority: int
    ordering_key: str | None
    correlation_id: str | None
    reply_to: str | None


def drain() -> Drained:
    """Deliver all that is due, and what handlers publish meanwhile, until nothing is.

    What waits for its time, as a retry does, goes on waiting (``run_due`` does not).
    Raises AssertionError when there is no end to it.
    """
    broker.sweep()
    handlers, streams, total = pump_for(Transport.HANDLER), pump_for(Transport.STREAM), Drained()
    for _ in range(ROUNDS):
        done = Drained(handlers.round(), streams.round())
        if done == Drained():
            return total
        total += done
    problem = f"after {ROUNDS} rounds there is still work: handlers publish for one another without end"
    raise AssertionError(problem)


def run_due(within: timedelta | None = None) -> Drained:
    """Deliver as if so much time had passed: what is delayed or waits to be tried again is due, and then ``drain``.

    within: what waits no longer than this, all without it. Failures are tried until they are dead letters.
    """
    total = drain()
    for _ in range(ROUNDS):
        if not _let_time_pass(within):
            return total
        total += drain()
    problem = f"after {ROUNDS} rounds something still waits for its time"
    raise AssertionError(problem)


def published(topic: str) -> list[Published]:
    """Return what was published to a topic and is kept, oldest first."""
    rows = Message.objects.using(get_config().database).filter(topic__name=topic, topic__deleted_at=None)
    return [_published(topic, row) for row in rows.order_by("id")]


def assert_published(topic: str, payload: Any = ..., *, routing_key: str | None = None) -> Published:
    """Return the first message that was published to the topic with this payload and routing key, where given.

    payload: compared as the JSON that it becomes. Raises AssertionError, which names what was published instead.
    """
    found = published(topic)
    wanted = payload if payload is ... or isinstance(payload, bytes) else decode(encode(payload))
    for message in found:
        if wanted in (..., message.payload) and routing_key in (None, message.routing_key):
            return message
    asked = "" if payload is ... else f" payload={payload!r}"
    asked += "" if routing_key is None else f" routing_key={routing_key!r}"
    problem = f"nothing was published to {topic!r} with{asked or ' anything'}; there is {found}"
    raise AssertionError(problem)


def _let_time_pass(within: timedelta | None) -> int:
    waiting = Delivery.objects.using(get_config().database).filter(state=DeliveryState.SCHEDULED)
    if within is not None:
        waiting = waiting.filter(available_at__lte=Now() + within)
    return waiting.update(available_at=Now())


def _published(topic: str, row: Message) -> Published:
    body = decompress(bytes(row.body), Encoding(row.encoding), limit=_LARGEST)
    return Published(
        id=row.id,
        topic=topic,
        payload=decode(body) if row.content_type == "application/json" else body,
        routing_key=row.routing_key,
        headers=row.headers,
        priority=row.priority,
        ordering_key=row.ordering_key,
        correlation_id=row.correlation_id,
        reply_to=row.reply_to,
    )
