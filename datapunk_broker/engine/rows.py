"""The rows that travel between the verbs and the dialects."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from datapunk_broker.states import Encoding


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message about to be stored, checked and packed; ``headers`` is JSON text, ``delay`` and ``ttl`` seconds."""

    id: UUID
    routing_key: str
    headers: str
    body: bytes
    encoding: Encoding
    content_type: str
    priority: int
    ordering_key: str | None
    idempotency_key: str | None
    correlation_id: str | None
    reply_to: str | None
    delay: float
    ttl: float | None
    redriven_from: UUID | None
    routed_to: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a claim asks of one subscription: so many deliveries at most, leased for so many seconds."""

    subscription: int
    share: int
    lease: float


LIGHT = 32 * 1024
"""Bytes up to which a body, as it is stored, comes with its claim; heavier ones are fetched as far as there is room."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """One claimed delivery with its message.

    attempt: counts its claims, this one included. size: the bytes of the body as it is stored; the body of one that
    is not ``LIGHT`` is empty until it is fetched.
    """

    delivery: int
    token: UUID
    subscription: int
    attempt: int
    ordering_key: str | None
    message: UUID
    routing_key: str
    headers: str
    body: bytes
    size: int
    encoding: Encoding
    content_type: str
    priority: int
    message_ordering_key: str | None
    published_at: datetime
    correlation_id: str | None
    reply_to: str | None

    @property
    def key(self) -> tuple[int, UUID]:
        """What settles it."""
        return self.delivery, self.token

    @property
    def place(self) -> tuple[int, str, int, int]:
        """Where it comes among those claimed with it: priority never goes before the order of a key."""
        priority = 0 if self.ordering_key else -self.priority
        return self.subscription, self.ordering_key or "", priority, self.delivery
