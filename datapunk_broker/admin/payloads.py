"""Show a payload: unpacked within bounds, JSON laid out, text as it is, anything else as bytes."""

import json
from dataclasses import dataclass
from enum import StrEnum

from datapunk_broker.admin.pretty import pretty
from datapunk_broker.exceptions import PayloadInvalidError
from datapunk_broker.models import Message
from datapunk_broker.payload import decompress, judge
from datapunk_broker.states import Encoding

MOST_BYTES = 16 * 1024 * 1024
"""A body is unpacked up to here."""

MOST_SHOWN = 100_000
"""Characters of a payload on a page."""

MOST_EDITED = 1024 * 1024
"""Characters of a payload in a form."""

HEX_BYTES = 512
"""Bytes of a binary payload on a page."""

_CONTROLS = frozenset(range(32)) - {9, 10, 12, 13}


class Kind(StrEnum):
    """How a payload is shown."""

    JSON = "JSON"
    TEXT = "text"
    BINARY = "binary"
    TOO_LARGE = "too large"


@dataclass(frozen=True, slots=True)
class Shown:
    """A payload on a page. size: bytes as published, or as stored when too large. whole: ``text`` is all of it."""

    kind: Kind
    size: int
    text: str = ""
    whole: bool = True


def show(message: Message, limit: int = MOST_SHOWN) -> Shown:
    """Return what a page shows of a message's payload."""
    try:
        body = body_of(message)
    except PayloadInvalidError:
        return Shown(Kind.TOO_LARGE, len(message.body), whole=False)
    text = text_of(body)
    if text is None:
        return Shown(Kind.BINARY, len(body), hex_head(body), len(body) <= HEX_BYTES)
    if is_json(message, body):
        laid_out, whole = pretty(text, limit)
        return Shown(Kind.JSON, len(body), laid_out, whole)
    return Shown(Kind.TEXT, len(body), text[:limit], len(text) <= limit)


def body_of(message: Message) -> bytes:
    """Return the published bytes (PayloadInvalidError when there are too many)."""
    return decompress(bytes(message.body), Encoding(message.encoding), limit=MOST_BYTES)


def is_json(message: Message, body: bytes) -> bool:
    """Whether a payload says that it is JSON, and is."""
    kind = message.content_type.partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        return False
    try:
        judge(body)
    except PayloadInvalidError:
        return False
    return True


def hex_head(body: bytes) -> str:
    """Return the first bytes as a hex dump, 16 a line."""
    lines = []
    for start in range(0, min(len(body), HEX_BYTES), 16):
        row = body[start : start + 16]
        characters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)  # noqa: PLR2004 - ASCII
        lines.append(f"{start:08x}  {row.hex(' '):<47}  {characters}")
    return "\n".join(lines)


def header_lines(message: Message) -> list[tuple[str, str]]:
    """Return a message's headers by name, their values as JSON."""
    return [(name, json.dumps(value, ensure_ascii=False)) for name, value in message.headers.items()]


def text_of(body: bytes) -> str | None:
    """Return a body as text, None for one that is binary."""
    if _CONTROLS.intersection(body):
        return None
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None
