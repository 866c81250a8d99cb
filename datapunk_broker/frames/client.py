"""What a client sends: read strictly and within bounds."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from datapunk_broker.frames.words import AckIds, Credit, FrameInvalidError, Id, Moment, Position, Seconds


class Point(Struct, forbid_unknown_fields=True):
    """Where to begin: after a position, which is what was last seen, or with what was published at a time."""

    position: Position | UnsetType = UNSET
    time: Moment | UnsetType = UNSET


class ClientFrame(Struct, tag_field="type", forbid_unknown_fields=True):
    """What a client sends."""


class Hello(ClientFrame, tag="hello"):
    """Who it is, where the session does not say."""

    token: Annotated[str, Meta(max_length=1_000)] | None = None


class Subscribe(ClientFrame, tag="subscribe"):
    """Send me a topic's stream, or the messages of a durable pull subscription."""

    sid: Id
    topic: str | None = None
    subscription: str | None = None
    routing_key: str | None = None
    headers: dict[str, Any] | None = None
    start: Literal["latest", "earliest"] | Point = msgspec.field(name="from", default="latest")
    credit: Credit = 0


class Ack(ClientFrame, tag="ack"):
    """These are handled."""

    sid: Id
    ack_ids: AckIds


class Nack(ClientFrame, tag="nack"):
    """These failed; again after ``delay`` seconds, or when the retry policy says."""

    sid: Id
    ack_ids: AckIds
    delay: Seconds | None = None


class Extend(ClientFrame, tag="extend"):
    """Keep these for ``by`` seconds from now."""

    sid: Id
    ack_ids: AckIds
    by: Seconds


class GrantCredit(ClientFrame, tag="credit"):
    """So many messages in all, counted from the subscribe, may come."""

    sid: Id
    limit: Credit


class Unsubscribe(ClientFrame, tag="unsubscribe"):
    """Send no more of this."""

    sid: Id


class Publish(ClientFrame, tag="publish"):
    """A message; delay and ttl are seconds."""

    id: Id
    topic: str
    payload: Raw
    routing_key: str = ""
    headers: dict[str, Any] = {}
    priority: int = 0
    ordering_key: str | None = None
    idempotency_key: str | None = None
    delay: Seconds | None = None
    ttl: Seconds | None = None
    correlation_id: str | None = None
    reply_to: str | None = None


class Ping(ClientFrame, tag="ping"):
    """A question whether the server is there."""


AnyClientFrame = Hello | Subscribe | Ack | Nack | Extend | GrantCredit | Unsubscribe | Publish | Ping


class _Glimpse(Struct):
    type: Any = None
    topic: Any = None


_DECODER: msgspec.json.Decoder[AnyClientFrame] = msgspec.json.Decoder(AnyClientFrame)


def parse(text: str | None, *, limit: int) -> AnyClientFrame:
    """Read a frame of at most ``limit`` bytes, None standing for one that is not text; raises FrameInvalidError."""
    if text is None:
        problem = "A frame is text: one JSON object."
        raise FrameInvalidError(problem)
    if len(text) > limit or len(body := text.encode("utf-8", "surrogatepass")) > limit:
        problem = f"A frame has {limit} bytes at most."
        raise FrameInvalidError(problem)
    try:
        frame = _DECODER.decode(body)
    except RecursionError:
        problem = "The frame nests too deep."
        raise FrameInvalidError(problem) from None
    except ValueError as error:
        problem = f"{error!s:.300}"
        raise FrameInvalidError(problem) from None
    if isinstance(frame, Subscribe) and (unclear := _unclear(frame)):
        raise FrameInvalidError(unclear)
    return frame


def topic_of_publish(text: str | None, *, limit: int) -> str | None:
    """Return the topic that a frame which is not valid was to publish to, "" where none is named.

    None: it is no publish, as far as it can be read.
    """
    if text is None or len(text) > limit:
        return None
    try:
        glimpse = msgspec.json.decode(text.encode("utf-8", "surrogatepass"), type=_Glimpse)
    except (ValueError, RecursionError):
        return None
    if glimpse.type != "publish":
        return None
    return glimpse.topic if isinstance(glimpse.topic, str) else ""


def _unclear(frame: Subscribe) -> str | None:
    if (frame.topic is None) == (frame.subscription is None):
        return "A subscribe names either a topic or a subscription."
    if isinstance(frame.start, Point) and (frame.start.position is UNSET) == (frame.start.time is UNSET):
        return 'A subscribe begins from either {"position": …} or {"time": …}.'
    return None
