"""Check headers and short texts for what the database can keep."""

import re
from collections.abc import Iterator, Mapping
from reprlib import repr as short

from datapunk_broker.envelope import JSON, Headers
from datapunk_broker.exceptions import PayloadInvalidError
from datapunk_broker.payload.writing import written

MAX_HEADERS = 100
MAX_HEADER_BYTES = 16 * 1024
"""Of all headers of a message, as JSON."""

MAX_HEADER_DEPTH = 32

MEDIA_TYPE = re.compile(r"[!#$%&'*+.^_`|~\w-]+/[!#$%&'*+.^_`|~\w-]+[ \t]*(?:;[\x20-\x7e\t]*)?", re.ASCII)
"""As RFC 9110 8.3.1 has it, save that parameters are any visible text."""


def check_text(field: str, value: str, limit: int) -> None:
    """Refuse text with NUL, a lone surrogate or more than ``limit`` bytes of UTF-8 (PayloadInvalidError)."""
    if not isinstance(value, str):
        raise PayloadInvalidError(field, f"must be text, not {short(value)}")
    if "\x00" in value:
        raise PayloadInvalidError(field, "has a NUL, which the database cannot keep")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise PayloadInvalidError(field, "has a lone surrogate, which the database cannot keep") from None
    if size > limit:
        raise PayloadInvalidError(field, f"has {size} bytes of UTF-8; {limit} at most")


def check_headers(headers: Headers) -> str:
    """Return headers as the JSON to store: at most 100, 16 KiB in all, values nested 32 deep.

    Raises PayloadInvalidError for names that are not text, values that are not JSON, NUL and lone surrogates.
    """
    if not isinstance(headers, Mapping):
        raise PayloadInvalidError("headers", f"must be an object, not {short(headers)}")
    if len(headers) > MAX_HEADERS:
        raise PayloadInvalidError("headers", f"are {len(headers)}; {MAX_HEADERS} at most")
    given = dict(headers)
    text = written("headers", given)
    if len(text) > MAX_HEADER_BYTES:
        raise PayloadInvalidError("headers", f"have {len(text)} bytes as JSON; {MAX_HEADER_BYTES} at most")
    for value, depth in _walk(given):
        _check(value, depth)
    return text.decode()


def _walk(root: JSON) -> Iterator[tuple[JSON, int]]:
    """Yield every value and every name of an object's members, with how deep it stands."""
    waiting = [(root, 0)]
    while waiting:
        value, depth = waiting.pop()
        yield value, depth
        if isinstance(value, dict):
            waiting += [(inner, depth + 1) for member in value.items() for inner in member]
        elif isinstance(value, list | tuple):
            waiting += [(inner, depth + 1) for inner in value]


def _check(value: JSON, depth: int) -> None:
    if depth > MAX_HEADER_DEPTH:
        raise PayloadInvalidError("headers", f"nest deeper than {MAX_HEADER_DEPTH} levels")
    texts = [value] if isinstance(value, str) else value if isinstance(value, dict) else []
    for text in texts:
        check_text("headers", text, MAX_HEADER_BYTES)
    if not isinstance(value, str | int | float | list | tuple | dict | None):
        raise PayloadInvalidError("headers", f"{short(value)} is no JSON value")


def is_media_type(text: str) -> bool:
    """Return whether a text can be a content type, in the header of a request, too."""
    return MEDIA_TYPE.fullmatch(text) is not None
