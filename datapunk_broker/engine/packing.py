"""Make of what a publisher hands in the row that is stored, or refuse it with the fact."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from datapunk_broker.engine.routes import Route
from datapunk_broker.engine.rows import NewMessage
from datapunk_broker.envelope import PRIORITIES, Outgoing
from datapunk_broker.exceptions import MessageTooLargeError, PayloadInvalidError
from datapunk_broker.matching import check_routing_key
from datapunk_broker.payload import check_headers, check_schema, check_text, compress, encode, is_media_type

LONGEST = timedelta(days=3660)
"""A delay or time to live beyond this is taken for a mistake."""


def pack(route: Route, message: Outgoing[Any], redriven_from: UUID | None = None) -> NewMessage:
    """Check one message against its topic and pack it; it is not routed yet.

    Raises PayloadInvalidError, MessageTooLargeError, SchemaMismatchError.
    """
    _check_options(message)
    body = body_of(message)
    if len(body) > route.max_message_size:
        raise MessageTooLargeError(route.topic, len(body), route.max_message_size)
    if route.schema is not None:
        check_schema(route.topic, route.schema, body)
    packed, encoding = compress(body, route.compression_threshold)
    return NewMessage(
        id=uuid7(),
        routing_key=message.routing_key,
        headers=check_headers(message.headers),
        body=packed,
        encoding=encoding,
        content_type=message.content_type,
        priority=message.priority,
        ordering_key=message.ordering_key or None,
        idempotency_key=message.idempotency_key,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        delay=_seconds("delay", message.delay) or 0.0,
        ttl=_seconds("ttl", message.ttl),
        redriven_from=redriven_from,
        routed_to=(),
    )


def body_of(message: Outgoing[Any]) -> bytes:
    """Return the bytes to store: JSON made of the payload, or the bytes given with another content type."""
    is_json = message.content_type == "application/json"
    if not isinstance(message.payload, bytes | bytearray | memoryview):
        if is_json:
            return encode(message.payload)
        raise PayloadInvalidError("payload", f"of content type {message.content_type!r} must be bytes")
    if is_json:
        raise PayloadInvalidError("payload", "is bytes: wrap JSON text in msgspec.Raw, or name its content_type")
    return bytes(message.payload)


def _check_options(message: Outgoing[Any]) -> None:
    check_routing_key(message.routing_key)
    if type(message.priority) is not int or message.priority not in PRIORITIES:
        raise PayloadInvalidError("priority", f"is {message.priority!r}; it goes from 0 to 9")
    for field, limit in (("ordering_key", 255), ("idempotency_key", 255), ("correlation_id", 255), ("reply_to", 200)):
        value = getattr(message, field)
        if value is not None:
            check_text(field, value, limit)
    check_text("content_type", message.content_type, 200)
    if not is_media_type(message.content_type):
        raise PayloadInvalidError("content_type", f"is {message.content_type!r}, which is no media type")
    if message.idempotency_key == "":
        raise PayloadInvalidError("idempotency_key", "may be absent, not empty")


def _seconds(field: str, duration: timedelta | None) -> float | None:
    if duration is None:
        return None
    if not isinstance(duration, timedelta):
        raise PayloadInvalidError(field, f"is {duration!r}; give a timedelta")
    if not timedelta(0) <= duration <= LONGEST:
        raise PayloadInvalidError(field, f"is {duration}; it goes from 0 to {LONGEST.days} days")
    return duration.total_seconds()
