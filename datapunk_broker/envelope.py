"""The values that cross the broker's surface: what one hands in, and what one gets back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar
from uuid import UUID

T = TypeVar("T")

JSON = Any
"""A value that JSON can say. It is not narrowed further: msgspec encodes dataclasses and the like too."""

Headers = Mapping[str, JSON]

PRIORITIES = range(10)
"""0 (the default) to 9 (first)."""


@dataclass(frozen=True, slots=True)
class Outgoing(Generic[T]):
    """A message on its way in: one row of ``publish_many``, and what ``publish`` makes of its arguments.

    payload: any JSON value, or an object of the topic's type. ``msgspec.Raw`` is stored byte for byte.
    priority: 0 to 9, higher is delivered sooner within a subscription.
    ordering_key: messages with one key reach an ordered subscription one after the other; "" is none.
    idempotency_key: the same key again in this topic is the first message again.
    delay: how long until it may be delivered. ttl: how long until it is no longer delivered.
    reply_to: the topic that gets what the handler returns, under the same correlation id.
    content_type: of the payload; anything but JSON is given as ``bytes``.
    """

    payload: T
    routing_key: str = ""
    headers: Headers = field(default_factory=dict)
    priority: int = 0
    ordering_key: str | None = None
    idempotency_key: str | None = None
    delay: timedelta | None = None
    ttl: timedelta | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a publisher gets back.

    deliveries: how many subscriptions the message was routed to (0: accepted and stored, nobody is bound).
    duplicate: the idempotency key was used before; ``message_id`` is the first message's.
    """

    message_id: UUID
    topic: str
    deliveries: int
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Received(Generic[T]):
    """A message as a subscriber gets it: one claim of one delivery.

    ack_id: names this claim; it settles nothing once the lease ran out and the delivery was claimed again.
    attempt: 1 on the first delivery. body: the published bytes.
    """

    ack_id: str
    attempt: int
    id: UUID
    topic: str
    subscription: str
    payload: T
    body: bytes
    content_type: str
    routing_key: str
    headers: Headers
    priority: int
    ordering_key: str | None
    published_at: datetime
    correlation_id: str | None
    reply_to: str | None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of the ack ids one asked to settle: those that were, and those whose claim was lost."""

    settled: tuple[str, ...]
    lost: tuple[str, ...]


def ack_id_of(delivery: int, token: UUID) -> str:
    """Return the ack id that names one claim of one delivery."""
    return f"{delivery:x}-{token.hex}"


def claim_of(ack_id: str) -> tuple[int, UUID] | None:
    """Return the delivery and token that an ack id names, or None for a text that names none."""
    delivery, _, token = ack_id.partition("-")
    try:
        claim = int(delivery, 16), UUID(hex=token)
    except ValueError:
        return None
    return claim if 0 < claim[0] < 2**63 else None
