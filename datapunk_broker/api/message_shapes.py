"""A message as it is shown."""

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import UNSET, Raw, Struct, UnsetType

from datapunk_broker.api.fields import Object
from datapunk_broker.envelope import Received
from datapunk_broker.frames import shown as shown_body
from datapunk_broker.models import Message
from datapunk_broker.payload import decompress
from datapunk_broker.states import Encoding

LARGEST = 256 * 1024 * 1024
"""Bytes of an unpacked body; what is larger could not be published."""


class Body(Struct, kw_only=True):
    """A body: any JSON value as it was published, or text; or in base64 what is neither.

    content_type: of a body that is not JSON.
    """

    payload: Raw | str | UnsetType = UNSET
    payload_base64: str | UnsetType = UNSET
    content_type: str | UnsetType = UNSET


class PulledMessage(Body, kw_only=True):
    """A message that was claimed; ``ack_id`` settles it while its lease lasts."""

    ack_id: str
    attempt: int
    id: UUID
    topic: str
    routing_key: str
    headers: Object
    priority: int
    ordering_key: str | None
    published_at: datetime
    correlation_id: str | None
    reply_to: str | None


class ShownMessage(Body, kw_only=True):
    """A message that is kept."""

    id: UUID
    topic: str
    routing_key: str
    headers: Object
    priority: int
    ordering_key: str | None
    idempotency_key: str | None
    published_at: datetime
    available_at: datetime
    expires_at: datetime | None
    correlation_id: str | None
    reply_to: str | None
    redriven_from: UUID | None


def pulled(message: Received[Any]) -> PulledMessage:
    """Return a message as its puller gets it."""
    members = {name: getattr(message, name) for name in PulledMessage.__struct_fields__ if name not in BODY}
    return PulledMessage(**members, **shown_body(message.body, message.content_type))


def shown(message: Message) -> ShownMessage:
    """Return a message as it is kept (its topic is loaded)."""
    members = {name: getattr(message, name) for name in ShownMessage.__struct_fields__ if name not in BODY}
    return ShownMessage(**{**members, "topic": message.topic.name}, **body_shown(message))


def body_shown(message: Message) -> dict[str, Any]:
    """Return the members that show a message's body."""
    body = decompress(bytes(message.body), Encoding(message.encoding), limit=LARGEST)
    return shown_body(body, message.content_type)


def weight_of(shown: Body) -> int:
    """Return how large a body is as it is shown, in bytes or characters."""
    return len(shown.payload_base64 if shown.payload is UNSET else shown.payload)  # type: ignore[arg-type]


BODY = Body.__struct_fields__
