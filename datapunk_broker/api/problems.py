"""Say what went wrong as RFC 9457 has it, with the ``code`` that the broker's errors have everywhere."""

from collections.abc import Mapping
from http import HTTPStatus
from math import ceil
from typing import Any

import msgspec
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpResponse
from django.http.request import UnreadablePostError
from rest_framework import exceptions as drf
from rest_framework.views import set_rollback

from datapunk_broker.api.reading import BodyTooLargeError
from datapunk_broker.exceptions import (
    BrokerError,
    ClaimLostError,
    ConfigInvalidError,
    MessageTooLargeError,
    NotFoundError,
    PayloadInvalidError,
    PermissionDeniedError,
    QueueFullError,
    RoutingUnsettledError,
    SchemaMismatchError,
    TopicBusyError,
)

MEDIA_TYPE = "application/problem+json"

STATUS: Mapping[type[BrokerError], int] = {
    NotFoundError: 404,
    PermissionDeniedError: 403,
    MessageTooLargeError: 413,
    SchemaMismatchError: 422,
    QueueFullError: 429,
    TopicBusyError: 409,
    ClaimLostError: 409,
    RoutingUnsettledError: 409,
}
"""The status of an error; 400 for all others."""

AGAIN_AFTER: Mapping[type[BrokerError], int] = {QueueFullError: 1, RoutingUnsettledError: 1}
"""Seconds: a sweep looks at the limits about as often."""


class Misfit(msgspec.Struct):
    """One part of a request that does not fit; ``field`` is its path."""

    field: str
    detail: str


class Problem(msgspec.Struct, omit_defaults=True):
    """Why a request was refused; ``code`` is stable, ``detail`` is for people."""

    title: str
    status: int
    code: str
    detail: str
    errors: list[Misfit] = []


def problem_of(error: Exception, context: Mapping[str, Any] | None = None) -> HttpResponse | None:  # noqa: ARG001
    """Return the response to an error, or None for one that is our own fault."""
    error = _known(error)
    if isinstance(error, BrokerError):
        status, headers = _first(STATUS, error, 400), _again(error)
        problem = _problem(status, error.code, str(error), _misfits(error))
    elif isinstance(error, drf.APIException):
        status, headers = error.status_code, _headers(error)
        problem = _problem(status, str(error.get_codes()), str(error.detail))
    else:
        return None
    set_rollback()
    return HttpResponse(msgspec.json.encode(problem), MEDIA_TYPE, status, headers=headers)


def code_of(error: Exception) -> str | None:
    """Return the code of the problem that an error is, or None for one that is our own fault."""
    error = _known(error)
    if isinstance(error, BrokerError):
        return error.code
    return str(error.get_codes()) if isinstance(error, drf.APIException) else None


def _known(error: Exception) -> Exception:
    """Translate what Django raises."""
    if isinstance(error, Http404):
        return drf.NotFound()
    if isinstance(error, PermissionDenied):
        return drf.PermissionDenied()
    if isinstance(error, RequestDataTooBig):
        return BodyTooLargeError()
    if isinstance(error, SuspiciousOperation | UnreadablePostError):
        return drf.ParseError("The request cannot be understood.", "bad_request")
    return error


def _problem(status: int, code: str, detail: str, errors: list[Misfit] | None = None) -> Problem:
    return Problem(HTTPStatus(status).phrase, status, code, _told(detail), errors or [])


def _misfits(error: BrokerError) -> list[Misfit]:
    if isinstance(error, PayloadInvalidError | ConfigInvalidError):
        return [Misfit(_told(error.field), _told(error.problem))]
    if isinstance(error, SchemaMismatchError):
        return [Misfit(_told(f"payload{error.path}"), _told(error.problem))]
    return []


def _told(text: str) -> str:
    """Return a text that may quote a request, with its lone surrogates escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _again(error: BrokerError) -> dict[str, str]:
    seconds = _first(AGAIN_AFTER, error, 0)
    return {"Retry-After": str(seconds)} if seconds else {}


def _headers(error: drf.APIException) -> dict[str, str]:
    wait = getattr(error, "wait", None)
    headers = {"WWW-Authenticate": getattr(error, "auth_header", None), "Retry-After": wait and str(ceil(wait))}
    return {name: value for name, value in headers.items() if value}


def _first(table: Mapping[type[BrokerError], int], error: BrokerError, default: int) -> int:
    return next((value for kind, value in table.items() if isinstance(error, kind)), default)
