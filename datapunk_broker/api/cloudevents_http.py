"""CloudEvents as HTTP carries them: an event in the headers, in the body, or many in the body."""

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from datapunk_broker.api.cloudevents import JSON, OCTETS, Event, checked, is_json_type
from datapunk_broker.api.reading import read_json
from datapunk_broker.api.written import items_of, members_of, valid
from datapunk_broker.exceptions import PayloadInvalidError

PREFIX = "HTTP_CE_"
"""Of Django's names of the headers ``ce-…``."""

NO_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)


def has_event_headers(meta: Mapping[str, Any]) -> bool:
    """Return whether a request has ``ce-`` headers."""
    return any(name.startswith(PREFIX) for name in meta)


def binary(meta: Mapping[str, Any], body: bytes) -> Event:
    """Read an event whose attributes are headers and whose data is the body; raises PayloadInvalidError."""
    content_type = str(meta.get("CONTENT_TYPE") or "").strip()
    attributes = {name: _decoded(name, value) for name, value in _event_headers(meta) if name != "datacontenttype"}
    if content_type:
        attributes["datacontenttype"] = content_type
    no_data = not body and (not content_type or is_json_type(content_type))
    default = JSON if no_data else OCTETS
    return Event(checked(attributes), None if no_data else body, content_type or default)


def structured(body: bytes) -> Event:
    """Read an event that is the body; raises PayloadInvalidError."""
    return _event(valid(body))


def batch(body: bytes) -> list[Event]:
    """Read the events of an array, all or none; raises PayloadInvalidError."""
    return [_event(text) for text in items_of(valid(body))]


def _event_headers(meta: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in meta.items():
        if name.startswith(PREFIX):
            yield name.removeprefix(PREFIX).lower(), value


def _decoded(name: str, value: str) -> str:
    """Undo the quotes that older senders use, then one round of percent-encoding."""
    try:
        raw = value.encode("latin-1")
        if quoted := QUOTED.fullmatch(raw):
            raw = re.sub(rb"\\(.)", rb"\1", quoted[1])
        if NO_ESCAPE.search(raw):
            raise PayloadInvalidError(f"ce-{name}", "has a % that begins no percent-encoded byte")
        return unquote_to_bytes(raw).decode()
    except UnicodeError:
        raise PayloadInvalidError(f"ce-{name}", "is not UTF-8, percent-encoded") from None


def _event(text: str) -> Event:
    members = members_of(text)
    data, encoded = members.pop("data", None), members.pop("data_base64", None)
    attributes = checked({name: read_json(value.encode(), Any, name) for name, value in members.items()})
    content_type = str(attributes.get("datacontenttype", ""))
    if encoded not in (None, "null"):
        if data is not None:
            raise PayloadInvalidError("data", "excludes data_base64")
        return Event(attributes, _unpacked(str(encoded)), content_type or OCTETS)
    if data is None or not content_type or is_json_type(content_type):
        return Event(attributes, None if data is None else data.encode(), content_type or JSON)
    # Of another type, the data is a text that JSON had to quote.
    return Event(attributes, _text(data), content_type)


def _text(data: str) -> bytes:
    return read_json(data.encode(), str, "data").encode() if data.startswith('"') else data.encode()


def _unpacked(encoded: str) -> bytes:
    try:
        return b64decode(read_json(encoded.encode(), str, "data_base64"), validate=True)
    except ValueError:
        raise PayloadInvalidError("data_base64", "is not base64") from None
