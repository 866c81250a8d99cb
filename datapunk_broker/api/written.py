"""Take valid JSON apart without reading it: every value stays as it was written."""

from collections.abc import Iterator
from json import JSONDecoder

from msgspec import Raw

from datapunk_broker.api.reading import NOT_UTF_8, TOO_DEEP, read_json
from datapunk_broker.exceptions import PayloadInvalidError
from datapunk_broker.payload.judging import pair_surrogates

WHITESPACE = " \t\n\r"

_scan = JSONDecoder(parse_int=str, parse_float=str, parse_constant=str).raw_decode
"""Finds where a value ends, and reads no number."""


def members_of(text: str) -> dict[str, str]:
    """Return the members of an object; of a name given twice, the last. Raises PayloadInvalidError for no object."""
    return dict(_parts(text, "{", "is no object"))


def items_of(text: str) -> list[str]:
    """Return the items of an array; raises PayloadInvalidError for no array."""
    return [item for _, item in _parts(text, "[", "is no array")]


def valid(body: bytes) -> str:
    """Return JSON as text, with lone surrogates still escaped in it; raises PayloadInvalidError."""
    read_json(pair_surrogates(body), Raw)
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise PayloadInvalidError("body", NOT_UTF_8) from None


def _parts(text: str, opening: str, problem: str) -> Iterator[tuple[str, str]]:
    """Yield the names ("" in an array) and the values."""
    try:
        yield from _scanned(text, opening, problem)
    except RecursionError:
        raise PayloadInvalidError("body", TOO_DEEP) from None


def _scanned(text: str, opening: str, problem: str) -> Iterator[tuple[str, str]]:
    at = _skip(text, 0)
    if text[at] != opening:
        raise PayloadInvalidError("body", problem)
    at = _skip(text, at + 1)
    while text[at] not in "}]":
        name = ""
        if opening == "{":
            name, at = _scan(text, at)
            at = _skip(text, _skip(text, at) + 1)
        _, end = _scan(text, at)
        yield name, text[at:end]
        at = _skip(text, end)
        at = _skip(text, at + 1) if text[at] == "," else at


def _skip(text: str, at: int) -> int:
    while text[at] in WHITESPACE:
        at += 1
    return at
