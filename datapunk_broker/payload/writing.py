"""Write a value as JSON, or say why JSON cannot hold it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from datapunk_broker.exceptions import PayloadInvalidError
from datapunk_broker.payload.judging import TOO_DEEP, judge

_NAN_TRACES = (b"null", b'"nan"', b'inf"', b'"None"')
"""What msgspec and pydantic make of NaN and Infinity: ``null`` as a value, the others as the name of a member."""

_KINDS: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
)


def encode(payload: Any) -> bytes:
    """Return a payload as JSON: any JSON value, dataclass, TypedDict, msgspec.Struct or pydantic model.

    ``msgspec.Raw`` is kept byte for byte. Sets become arrays, dates and UUIDs strings, ``bytes`` base64.
    Raises PayloadInvalidError for what JSON cannot say (NaN, Infinity, lone surrogates, other objects).
    """
    body = bytes(payload) if isinstance(payload, msgspec.Raw) else written("payload", payload)
    judge(body)  # what was made here, too: a Raw may stand inside
    return body


def written(field: str, value: Any) -> bytes:
    """Return a value as JSON; an error (PayloadInvalidError) names ``field``."""
    try:
        body = _ENCODER.encode(value)
        if any(trace in body for trace in _NAN_TRACES):
            _check_finite(field, value)
    except RecursionError:
        raise PayloadInvalidError(field, TOO_DEEP) from None
    except (TypeError, ValueError) as error:
        raise PayloadInvalidError(field, f"cannot be written as JSON: {error}") from error
    return body


def _check_finite(field: str, value: Any) -> None:
    try:
        json.dumps(msgspec.to_builtins(value, enc_hook=_with_nan), allow_nan=False)
    except ValueError:
        raise PayloadInvalidError(field, "has NaN or Infinity, which JSON cannot say") from None


def _plain(value: Any) -> Any:
    """Make of what msgspec does not know something it does: pydantic models, kinds of text and numbers."""
    if _is_model(value):
        return msgspec.Raw(value.model_dump_json(by_alias=True).encode())
    for kind, plain in _KINDS:
        if isinstance(value, kind):
            return plain(value)
    problem = f"{type(value).__qualname__} is no JSON value"
    raise TypeError(problem)


def _with_nan(value: Any) -> Any:
    if isinstance(value, msgspec.Raw):
        return None
    if _is_model(value):  # as JSON it would have null, too
        return [leaf for leaf in _leaves(value.model_dump()) if isinstance(leaf, float)]
    return _plain(value)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value


def _is_model(value: Any) -> bool:
    return hasattr(type(value), "model_dump_json")


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)
