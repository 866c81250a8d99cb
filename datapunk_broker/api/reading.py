"""Read what a request carries: within bounds, and strictly by the shape that is asked for."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from rest_framework.exceptions import APIException, UnsupportedMediaType
from rest_framework.request import Request

from datapunk_broker.api.fields import refused
from datapunk_broker.api.moments import made, made_of_query
from datapunk_broker.conf.options import suggestion
from datapunk_broker.exceptions import PayloadInvalidError
from datapunk_broker.payload.judging import pair_surrogates

S = TypeVar("S", bound=msgspec.Struct)

LARGEST_BODY = 16 * 1024 * 1024
"""Bytes."""

CHUNK = 64 * 1024

FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
"""What Django itself would parse on the way in."""

LISTS = ("header",)
"""Parameters that may be given more than once."""

NOT_UTF_8 = "is not text in UTF-8"
TOO_DEEP = "nests too deep"
LONE_SURROGATE = "has a lone surrogate, which cannot be kept"


class BodyTooLargeError(APIException):
    """A request's body is larger than any may be."""

    status_code = 413
    default_code = "message_too_large"
    default_detail = f"The body has more than {LARGEST_BODY} bytes."


def check_announced(request: Request) -> None:
    """Refuse a body for what its headers say, before anything of it is read or parsed."""
    if is_form(request):
        raise UnsupportedMediaType(media_type_of(request))
    if request.META.get("HTTP_CONTENT_ENCODING", "identity").lower() not in ("", "identity"):
        raise UnsupportedMediaType(f"{media_type_of(request)}, encoded")
    announced = str(request.META.get("CONTENT_LENGTH") or "0")
    if announced.isdecimal() and int(announced[:20]) > LARGEST_BODY:
        raise BodyTooLargeError


def is_form(request: Request) -> bool:
    """Return whether the body is a form."""
    return media_type_of(request) in FORMS


def media_type_of(request: Request) -> str:
    """Return a request's media type in lower case, without its parameters."""
    return str(request.META.get("CONTENT_TYPE", "")).partition(";")[0].strip().lower()


def body_of(request: Request) -> bytes:
    """Return the body's bytes; raises BodyTooLargeError as soon as it is."""
    chunks, size = [], 0
    while chunk := request.read(CHUNK):
        size += len(chunk)
        if size > LARGEST_BODY:
            raise BodyTooLargeError
        chunks.append(chunk)
    return b"".join(chunks)


def read_json(body: bytes, shape: Any, what: str = "body") -> Any:
    """Return JSON as this shape; an error names ``what`` (PayloadInvalidError)."""
    try:
        return msgspec.json.decode(body, type=shape, dec_hook=made)
    except msgspec.ValidationError as error:
        raise refused(error, what) from None
    except UnicodeDecodeError:
        raise PayloadInvalidError(what, NOT_UTF_8) from None
    except RecursionError:
        raise PayloadInvalidError(what, TOO_DEEP) from None
    except ValueError as error:
        problem = LONE_SURROGATE if has_lone_surrogate(body) else f"is not JSON: {error}"
        raise PayloadInvalidError(what, problem) from None


def has_lone_surrogate(body: bytes) -> bool:
    """Return whether half of a character is escaped in JSON, which no database keeps as text."""
    return pair_surrogates(body) != body


def parsed(request: Request, shape: type[S], read: Callable[[bytes, type[S]], S] = read_json) -> S:
    """Return the body of a request, which must be JSON of this shape.

    Raises PayloadInvalidError, UnsupportedMediaType or BodyTooLargeError.
    """
    if media_type_of(request) != "application/json":
        raise UnsupportedMediaType(media_type_of(request) or "nothing", "Send the body as application/json.")
    given = read(body_of(request), shape)
    either = getattr(shape, "EITHER", ())
    if either and sum(getattr(given, name) is not msgspec.UNSET for name in either) != 1:
        raise PayloadInvalidError("body", f"has either {' or '.join(either)}")
    return given


def asked(request: Request, shape: type[S]) -> S:
    """Return the query string as this shape; of a parameter given twice, the last counts.

    Raises PayloadInvalidError, also for a parameter that is none: a filter that is not there filters nothing.
    """
    kinds = {field.encode_name: field.type for field in msgspec.structs.fields(shape)}
    given: dict[str, Any] = {}
    for name, values in request.query_params.lists():
        if name not in kinds:
            raise PayloadInvalidError(name, f"is no parameter here. {suggestion(name, kinds)}".rstrip())
        given[name] = values if name in LISTS else values[-1]
    try:
        return msgspec.convert(given, shape, strict=False, dec_hook=made_of_query)
    except msgspec.ValidationError as error:
        raise refused(error, "query") from None
