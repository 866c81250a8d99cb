"""Deliver a message that was never stored: at most once, to the handlers it was routed to."""

import math
from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from datapunk_broker import signals
from datapunk_broker.conf import get_config
from datapunk_broker.engine.fail import where_raised
from datapunk_broker.engine.roster import Subscriber, active
from datapunk_broker.envelope import Received
from datapunk_broker.payload import decode
from datapunk_broker.pump.answers import answer
from datapunk_broker.retry import reason_of
from datapunk_broker.states import SubscriptionMode
from datapunk_broker.transports import Errand, Outcome
from datapunk_broker.transports.handler import HandlerTransport

Wire = Mapping[str, Any]


def deliver_live(wire: Wire, using: str | None = None) -> None:
    """Hand the message to each handler once; a failure is announced, not retried."""
    using = using or get_config().database
    for subscriber in active(wire["subscriptions"], using):
        for error in _errors(wire, subscriber, using):
            signals.announce(
                signals.attempt_failed,
                sender=deliver_live,
                subscription=subscriber.name,
                topic=subscriber.topic,
                message_id=UUID(wire["id"]),
                correlation_id=wire["correlation_id"],
                attempt=1,
                reason=reason_of(error),
                error_class=type(error).__qualname__,
                where=where_raised(error),
                retry_in=None,
            )


def _errors(wire: Wire, subscriber: Subscriber, using: str) -> list[Exception]:
    transport, is_batch = HandlerTransport(), subscriber.mode == SubscriptionMode.BATCH
    outcomes: list[Outcome] = []
    try:
        kind = transport.payload_type(subscriber.name, subscriber.topic, subscriber.handler, batch=is_batch)
        message = _received(wire, subscriber, kind)
        transport.deliver(_errand(subscriber, is_batch, message), outcomes.append)
        for outcome in outcomes:
            if outcome.error is None:
                answer(message, outcome.reply, using=using)
    except Exception as error:  # noqa: BLE001 - the subscriber's own type may raise anything, and others wait
        return [error]
    return [outcome.error for outcome in outcomes if outcome.error is not None]


def _errand(subscriber: Subscriber, batch: bool, message: Received[Any]) -> Errand:  # noqa: FBT001 - a fact of it
    return Errand(
        subscription=subscriber.name,
        topic=subscriber.topic,
        handler=subscriber.handler,
        batch=batch,
        batch_size=1,
        timeout=subscriber.timeout,
        lease_end=math.inf,
        ordered=False,
        holds_back=False,
        one_at_a_time=False,
        goes_on=lambda: True,
        messages=[message],
    )


def _received(wire: Wire, subscriber: Subscriber, kind: Any) -> Received[Any]:
    body = b64decode(wire["body"])
    return Received(
        ack_id="",
        attempt=1,
        id=UUID(wire["id"]),
        topic=subscriber.topic,
        subscription=subscriber.name,
        payload=decode(body, kind) if wire["content_type"] == "application/json" else body,
        body=body,
        content_type=wire["content_type"],
        routing_key=wire["routing_key"],
        headers=msgspec.json.decode(wire["headers"]),
        priority=wire["priority"],
        ordering_key=None,
        published_at=datetime.fromisoformat(wire["published_at"]),
        correlation_id=wire["correlation_id"],
        reply_to=wire["reply_to"],
    )
