"""What the server sends: written compactly."""

from base64 import b64encode
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from datapunk_broker.frames.words import Id


class ServerFrame(Struct, tag_field="type"):
    """What the server sends."""


class Limits(Struct):
    """What a connection may do.

    credit: messages a subscription may be granted beyond those it was sent. frame_bytes: of one frame.
    ping_seconds: how often a client that pings does so at least.
    """

    subscriptions: int
    credit: int
    frame_bytes: int
    frames_per_second: float
    ping_seconds: float


class Welcome(ServerFrame, tag="welcome"):
    """You are known; the limits are these."""

    connection: str
    limits: Limits


class Subscribed(ServerFrame, tag="subscribed"):
    """It begins; null where there are no positions."""

    sid: Id
    oldest: int | None
    head: int | None


class CaughtUp(ServerFrame, tag="caught_up"):
    """Everything that was there is sent; what follows is live."""

    sid: Id


class Reset(ServerFrame, tag="reset"):
    """What follows your position is not there (any more); it goes on from ``oldest``."""

    sid: Id
    reason: Literal["pruned", "ahead", "dropped"]
    oldest: int | None
    head: int | None


class Published(ServerFrame, tag="published"):
    """The publish ``id`` is committed."""

    id: Id
    message_id: str
    duplicate: bool


class Error(ServerFrame, tag="error", omit_defaults=True):
    """A request was refused; the socket stays."""

    code: str
    detail: str
    id: Id | None = None
    sid: Id | None = None
    retry_after: float | None = None
    ack_ids: tuple[str, ...] = ()


class Unsubscribed(ServerFrame, tag="unsubscribed"):
    """Nothing more comes; ``code`` says why, ``requested`` when you asked."""

    sid: Id
    code: str


class Goodbye(ServerFrame, tag="goodbye"):
    """The server is about to close."""

    code: int
    reconnect: bool


class Pong(ServerFrame, tag="pong"):
    """Yes."""


class Item(Struct, omit_defaults=True):
    """A message as its reader gets it, without the positions, which differ from reader to reader."""

    id: str
    topic: str
    routing_key: str
    headers: Any
    published_at: datetime
    payload: Raw | str | UnsetType = UNSET
    payload_base64: str | UnsetType = UNSET
    content_type: str = "application/json"
    priority: int = 0
    ordering_key: str | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    ack_id: str | None = None
    attempt: int | None = None


_ENCODER = msgspec.json.Encoder()


def write(frame: ServerFrame) -> str:
    """Return a frame as text."""
    return _ENCODER.encode(frame).decode()


def write_item(item: Item) -> str:
    """Return a message as the text of a JSON object that lacks its opening brace."""
    return _ENCODER.encode(item).decode()[1:]


def place(position: int | None, previous: int | None, written: str) -> str:
    """Return a written message with where it stands."""
    if position is None:
        return f'{{"position":null,"previous":null,{written}'
    return f'{{"position":{position},"previous":{previous},{written}'


def write_messages(sid: Id, placed: list[str]) -> str:
    """Return the frame that carries messages."""
    return f'{{"type":"messages","sid":{_ENCODER.encode(sid).decode()},"items":[{",".join(placed)}]}}'


def shown(body: bytes, content_type: str) -> dict[str, Any]:
    """Return what shows a body in JSON: itself, as text where it is text, else as base64."""
    if content_type == "application/json":
        return {"payload": Raw(body)}
    try:
        return {"payload": body.decode(), "content_type": content_type}
    except UnicodeDecodeError:
        return {"payload_base64": b64encode(body).decode(), "content_type": content_type}
