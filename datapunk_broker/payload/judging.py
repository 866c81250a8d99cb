"""Judge bytes as JSON, strictly by RFC 8259."""

import re
from itertools import accumulate

import msgspec

from datapunk_broker.exceptions import PayloadInvalidError

MAX_DEPTH = 500
"""How deep the arrays and objects of a payload nest at most, so that whoever takes one can read it too."""

TOO_DEEP = f"nests deeper than {MAX_DEPTH} levels, or contains itself"

_RAW = msgspec.json.Decoder(msgspec.Raw)
_PAIR = rb"u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_LONE = rb"u([dD][89a-fA-F][0-9a-fA-F]{2})"
_ESCAPE = re.compile(rb"\\(?:" + _PAIR + rb"|" + _LONE + rb"|.)", re.DOTALL)

_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = {ord("["): 1, ord("]"): -1}


def judge(body: bytes) -> None:
    """Refuse bytes that are not JSON in UTF-8, or that nest too deep (PayloadInvalidError).

    Numbers of any size and escaped lone surrogates are JSON: the bytes are kept, and whether they can be read
    is the reader's matter.
    """
    try:
        str(body, "utf-8")  # msgspec.Raw does not look at the bytes of strings
        _RAW.decode(pair_surrogates(body))
    except RecursionError:
        raise PayloadInvalidError("payload", TOO_DEEP) from None
    except ValueError as error:
        raise PayloadInvalidError("payload", f"is not JSON: {error}") from error
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(body) > MAX_DEPTH:
        raise PayloadInvalidError("payload", TOO_DEEP)


def pair_surrogates(body: bytes) -> bytes:
    r"""Return the body with U+FFFD for escaped lone surrogates (``"\ud800"``), which msgspec refuses."""
    if rb"\u" not in body:
        return body
    return _ESCAPE.sub(lambda escape: rb"\ufffd" if escape[1] else escape[0], body)


def _depth(body: bytes) -> int:
    """Return how deep valid JSON nests: the most brackets open at once outside its strings."""
    outside = b"".join(body.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2])
    brackets = outside.translate(_TO_SQUARE, _NO_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)
