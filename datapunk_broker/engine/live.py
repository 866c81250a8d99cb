"""Publish to a topic that stores nothing: after the commit the message rides to whoever is there."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
from django.utils import timezone

from datapunk_broker import signals
from datapunk_broker.engine.packing import pack
from datapunk_broker.engine.routes import Route, is_current
from datapunk_broker.engine.rows import NewMessage
from datapunk_broker.envelope import Outgoing, Receipt
from datapunk_broker.exceptions import NotPersistentError
from datapunk_broker.states import Transport

NEEDS_STORAGE = ("delay", "idempotency_key", "ordering_key")


def check_unstored(route: Route, message: Outgoing[Any]) -> None:
    """Raise NotPersistentError for an option that needs storage."""
    for option in NEEDS_STORAGE:
        if getattr(message, option) is not None:
            raise NotPersistentError(route.topic, option)


def publish_live(route: Route, messages: Sequence[Outgoing[Any]], *, using: str) -> tuple[Receipt, ...]:
    """Hand messages to the doorbell after the commit, at most once each; no receipts where the route is stale.

    Raises NotPersistentError for an option that needs storage, else what ``publish`` raises.
    """
    for message in messages:
        check_unstored(route, message)
    unpacked = replace(route, compression_threshold=None)
    rows = [pack(unpacked, message) for message in messages]
    if not is_current(route, using):
        return ()
    routed = [route.matcher.match(row.routing_key, msgspec.json.decode(row.headers)) for row in rows]
    wires = tuple(_wire(route, row, to) for row, to in zip(rows, routed, strict=True))
    signals.announce_on_commit(
        signals.published_live, sender=publish_live, using=using, topic=route.topic, messages=wires
    )
    return tuple(Receipt(row.id, route.topic, len(to)) for row, to in zip(rows, routed, strict=True))


def _wire(route: Route, row: NewMessage, routed: Sequence[int]) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "topic": route.topic,
        "subscriptions": [route.names[s] for s in routed if route.transports[s] == Transport.HANDLER],
        "body": b64encode(row.body).decode(),
        "content_type": row.content_type,
        "routing_key": row.routing_key,
        "headers": row.headers,
        "priority": row.priority,
        "published_at": timezone.now().isoformat(),
        "correlation_id": row.correlation_id,
        "reply_to": row.reply_to,
    }
