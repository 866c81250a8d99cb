"""Read JSON as what a subscriber asks for."""

import json
from collections.abc import Callable
from functools import lru_cache
from math import isfinite
from typing import Any, TypeVar, overload

import msgspec

from datapunk_broker.envelope import JSON
from datapunk_broker.exceptions import ConfigInvalidError, PayloadInvalidError
from datapunk_broker.payload.judging import TOO_DEEP, pair_surrogates

T = TypeVar("T")

_read_plain = msgspec.json.Decoder().decode


@overload
def decode(body: bytes) -> Any: ...
@overload
def decode(body: bytes, type: type[T]) -> T: ...
@overload
def decode(body: bytes, type: Any) -> Any: ...
def decode(body: bytes, type: Any = Any) -> Any:  # noqa: A002 - as msgspec calls it
    """Read a payload as JSON, or as a dataclass, TypedDict, msgspec.Struct or pydantic model.

    Big integers keep their digits (up to the 4,300 that Python reads). Raises PayloadInvalidError, with the
    path, for what does not fit and for numbers that would turn into infinity, such as 1e999;
    ConfigInvalidError for a type that nothing can be read as.
    """
    try:
        return _read(body, type)
    except RecursionError:
        raise PayloadInvalidError("payload", TOO_DEEP) from None
    except ValueError as error:
        raise PayloadInvalidError("payload", _sentence(error)) from error


def _read(body: bytes, kind: Any) -> Any:
    try:
        return _reader(kind)(body)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if pair_surrogates(body) == body:
            raise
    # Of the readers here, the standard library alone takes lone surrogates.
    value = json.loads(body.decode(), parse_float=_finite, parse_constant=_finite)
    return msgspec.convert(value, kind, dec_hook=_construct)


@lru_cache(maxsize=512)
def _reader(kind: Any) -> Callable[[bytes], Any]:
    if _is_model(kind):
        return lambda body: _read_model(kind, body)
    try:
        return msgspec.json.Decoder(kind, dec_hook=_construct).decode
    except TypeError as error:
        raise ConfigInvalidError("type", f"{kind!r} cannot be read from JSON: {error}") from error


def _is_model(kind: Any) -> bool:
    return hasattr(kind, "model_validate_json")


def _read_model(model: Any, body: bytes) -> Any:
    _read_plain(body)  # pydantic would take NaN, and make infinity of 1e999
    return model.model_validate_json(body)


def _construct(kind: Any, value: JSON) -> Any:
    """Make the part of a payload that msgspec cannot: a pydantic model."""
    if not _is_model(kind):
        way_out = "Use a dataclass, TypedDict, msgspec.Struct or pydantic model."
        raise ConfigInvalidError("type", f"{kind!r} cannot be read from JSON. {way_out}")
    try:
        return kind.model_validate_json(msgspec.json.encode(value))
    except ValueError as error:
        raise ValueError(_sentence(error)) from error


def _finite(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        problem = f"Number out of range: {digits:.40}"
        raise ValueError(problem)
    return number


def _sentence(error: ValueError) -> str:
    """Return what is wrong and where; of pydantic's list, the first."""
    if not hasattr(error, "errors"):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
    return f"{first['msg']} - at `${path}`"
