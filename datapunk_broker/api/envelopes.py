"""Read a message out of JSON, its payload byte for byte as it came."""

from datetime import timedelta
from typing import Annotated, Any, Protocol, TypeVar

from msgspec import Meta, Raw, Struct

from datapunk_broker.api.fields import KeyText, Object, Seconds, ShortText
from datapunk_broker.api.reading import LONE_SURROGATE, has_lone_surrogate, read_json
from datapunk_broker.api.written import items_of, members_of, valid
from datapunk_broker.envelope import Outgoing
from datapunk_broker.exceptions import PayloadInvalidError
from datapunk_broker.payload.judging import pair_surrogates

LARGEST_BATCH = 1_000


class WithPayload(Protocol):
    """What has a payload, byte for byte."""

    payload: Any


P = TypeVar("P", bound=WithPayload)


class Envelope(Struct, kw_only=True, forbid_unknown_fields=True):
    """A message to publish; ``payload`` is any JSON value, kept byte for byte. Durations are seconds."""

    payload: Raw
    routing_key: ShortText = ""
    headers: Object = {}
    priority: Annotated[int, Meta(ge=0, le=9)] = 0
    ordering_key: KeyText | None = None
    idempotency_key: KeyText | None = None
    delay: Seconds | None = None
    ttl: Seconds | None = None
    correlation_id: ShortText | None = None
    reply_to: Annotated[str, Meta(max_length=200)] | None = None

    def outgoing(self, idempotency_key: str | None = None) -> Outgoing[Raw]:
        """Return the message; an idempotency key given beside it must be the same, if both are given."""
        if None not in (self.idempotency_key, idempotency_key) and self.idempotency_key != idempotency_key:
            raise PayloadInvalidError("idempotency_key", "is not the one in the header")
        members = {name: getattr(self, name) for name in self.__struct_fields__}
        durations = {name: self._duration(name) for name in ("delay", "ttl")}
        return Outgoing(**{**members, **durations, "idempotency_key": idempotency_key or self.idempotency_key})

    def _duration(self, name: str) -> timedelta | None:
        seconds = getattr(self, name)
        return None if seconds is None else timedelta(seconds=seconds)


class Batch(Struct, kw_only=True, forbid_unknown_fields=True):
    """Messages to publish, all or none."""

    messages: Annotated[list[Envelope], Meta(max_length=LARGEST_BATCH)]


def read_with_payload(body: bytes, shape: type[P]) -> P:
    """Return JSON as this shape, which has a payload; raises PayloadInvalidError."""
    paired = pair_surrogates(body)
    given: P = read_json(paired, shape)
    if paired != body:
        _restore(given, valid(body))
    return given


def read_batch(body: bytes) -> list[Envelope]:
    """Return the messages of a body; raises PayloadInvalidError."""
    paired = pair_surrogates(body)
    messages: list[Envelope] = read_json(paired, Batch).messages
    if paired != body:
        for envelope, written in zip(messages, items_of(members_of(valid(body))["messages"]), strict=True):
            _restore(envelope, written)
    return messages


def _restore(given: WithPayload, written: str) -> None:
    """Give a payload back the lone surrogates that the decoder does not take; elsewhere they are refused."""
    members = members_of(written)
    if (payload := members.pop("payload", None)) is not None:
        given.payload = Raw(payload.encode())
    for name, value in members.items():
        if has_lone_surrogate(value.encode()):
            raise PayloadInvalidError(name, LONE_SURROGATE)
