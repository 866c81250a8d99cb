"""What is asked of one process from outside: its metrics, and whether it lives and is ready."""

import json
from functools import partial
from http import HTTPStatus

from django.db import Error
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from datapunk_broker.conf import get_config
from datapunk_broker.observability.access import Access, access_of, has_credentials
from datapunk_broker.observability.aside import Aside
from datapunk_broker.observability.exporter import page
from datapunk_broker.observability.health import health

WORDS = {True: "ok", False: "failed", None: "unknown"}

KNOWN_WITHIN = 1.0
"""Seconds to find out who asks; after that it is nobody in particular."""

REFUSALS = {
    Access.ANONYMOUS: (401, "not_authenticated", "Send a token: Authorization: Token …"),
    Access.WRONG_TOKEN: (401, "authentication_failed", "Invalid token."),
    Access.NONE: (403, "permission_denied", "Metrics are for the staff, and for whoever has a token."),
}


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Show all metrics: the broker's, django-prometheus's and the project's own."""
    try:
        access = Access.ALL if get_config().public_metrics else access_of(request)
    except Error:
        return _refusal(503, "database_away", "The database does not answer, so nobody knows who asks.")
    if access is not Access.ALL:
        return _refusal(*REFUSALS[access])
    body, content_type = page(request.headers.get("Accept", ""))
    return HttpResponse(body, content_type=content_type)


@never_cache
@require_safe
def live(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - nothing of it matters
    """Answer, without a look at any server."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """Say which parts are there: 503 when one is not. What is known about them is for those who may see metrics."""
    parts = health.look()
    failed = sorted(name for name, part in parts.items() if part.ok is False)
    answer: dict[str, object] = {
        "status": "failed" if failed else "ok",
        "failed": failed,
        "checks": {name: WORDS[part.ok] for name, part in parts.items()},
    }
    if parts["database"].ok and _may_see_all(request):
        answer["details"] = {name: part.about for name, part in parts.items()}
    return JsonResponse(answer, status=HTTPStatus.SERVICE_UNAVAILABLE if failed else HTTPStatus.OK)


def _may_see_all(request: HttpRequest) -> bool:
    if not has_credentials(request):
        return False
    try:
        return Aside(partial(access_of, request)).result(KNOWN_WITHIN) is Access.ALL
    except TimeoutError:
        return False


def _refusal(status: int, code: str, detail: str) -> HttpResponse:
    problem = {"title": HTTPStatus(status).phrase, "status": status, "code": code, "detail": detail}
    headers = {"WWW-Authenticate": "Token"} if status == HTTPStatus.UNAUTHORIZED else {}
    return HttpResponse(json.dumps(problem), "application/problem+json", status, headers=headers)
