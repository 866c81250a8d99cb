"""A CloudEvent 1.0: what it may be, and the message that it becomes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Raw

from datapunk_broker.api.moments import Moment
from datapunk_broker.envelope import Outgoing
from datapunk_broker.exceptions import PayloadInvalidError
from datapunk_broker.payload import is_media_type

REQUIRED = ("id", "source", "type", "specversion")
TEXTS = (*REQUIRED, "subject", "dataschema", "datacontenttype", "time")
RESERVED = ("data", "data_base64")

JSON = "application/json"
OCTETS = "application/octet-stream"
LONGEST_KEY = 255
INT_32 = range(-(2**31), 2**31)

NAME = re.compile(r"[a-z0-9]+", re.ASCII)
JSON_TYPE = re.compile(r"[^/;]+/(?:[^;]+\+)?json", re.IGNORECASE)
ABSOLUTE_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?:[\w\-.~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Event:
    """An event whose attributes hold; ``data`` is None where it has none, and JSON where its type says so."""

    attributes: Mapping[str, str | int | bool]
    data: bytes | None
    content_type: str

    def outgoing(self) -> Outgoing[Any]:
        """Return the message: routed by the event's type, its attributes as ``ce-`` headers.

        Source and id are the idempotency key.
        """
        is_json = is_json_type(self.content_type)
        body: Any = (self.data or b"") if not is_json else Raw(b"null" if self.data is None else self.data)
        return Outgoing(
            body,
            routing_key=str(self.attributes["type"]),
            headers={f"ce-{name}": value for name, value in self._headers(is_json=is_json)},
            idempotency_key=self._key(),
            content_type=JSON if is_json else self.content_type,
        )

    def _headers(self, *, is_json: bool) -> list[tuple[str, Any]]:
        kept = [(name, value) for name, value in self.attributes.items() if name != "datacontenttype"]
        is_told = not is_json or self.content_type.lower() == JSON
        return kept if is_told else [*kept, ("datacontenttype", self.content_type)]

    def _key(self) -> str:
        key = msgspec.json.encode([self.attributes["source"], self.attributes["id"]])
        return key.decode() if len(key) <= LONGEST_KEY else f"sha256:{sha256(key).hexdigest()}"


def is_json_type(content_type: str) -> bool:
    """Return whether a media type says that something is JSON."""
    return JSON_TYPE.fullmatch(content_type.partition(";")[0].strip()) is not None


def checked(given: Mapping[str, Any]) -> dict[str, str | int | bool]:
    """Return the attributes that are set, or refuse them (PayloadInvalidError); null is not set."""
    attributes = {name: value for name, value in given.items() if value is not None}
    for name in REQUIRED:
        if name not in attributes:
            raise PayloadInvalidError(name, "is missing: a CloudEvent has one")
    for name, value in attributes.items():
        _check(name, value)
    if attributes["specversion"] != "1.0":
        raise PayloadInvalidError("specversion", "is not 1.0")
    return attributes


def _check(name: str, value: Any) -> None:
    if not NAME.fullmatch(name) or name in RESERVED:
        raise PayloadInvalidError(name, "is no name of an attribute: those are lower-case letters and digits")
    if name in TEXTS:
        if not isinstance(value, str) or not value:
            raise PayloadInvalidError(name, "must be text that is not empty")
        _check_text(name, value)
    elif not isinstance(value, bool | str) and (not isinstance(value, int) or value not in INT_32):
        raise PayloadInvalidError(name, "must be a truth value, a whole number of 32 bits, or text")


def _check_text(name: str, value: str) -> None:
    if name == "time":
        _check_time(value)
    if name == "dataschema" and not ABSOLUTE_URI.fullmatch(value):
        raise PayloadInvalidError(name, "is no absolute URI")
    if name == "datacontenttype" and not is_media_type(value):
        raise PayloadInvalidError(name, "is no media type")


def _check_time(value: str) -> None:
    try:
        Moment.read(value)
    except ValueError as error:
        raise PayloadInvalidError("time", str(error)) from None
