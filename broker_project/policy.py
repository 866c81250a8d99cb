"""One Content-Security-Policy for every page: nothing from elsewhere, and no script or style in a page itself."""

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

POLICY = (
    "default-src 'self'; "
    "img-src 'self' data:; "  # the documentation's style sheet has its icons in itself
    "object-src 'none'; "
    "base-uri 'none'; "
    "form-action 'self'; "
    "frame-ancestors 'none'"
)

Answering = Callable[[HttpRequest], Any]


@sync_and_async_middleware
def content_security_policy(get_response: Answering) -> Answering:
    """Say in every answer what a browser may load for it."""

    def guarded(response: HttpResponseBase) -> HttpResponseBase:
        response.headers.setdefault("Content-Security-Policy", POLICY)
        return response

    if iscoroutinefunction(get_response):

        async def answer_later(request: HttpRequest) -> HttpResponseBase:
            answering: Awaitable[HttpResponseBase] = get_response(request)
            return guarded(await answering)

        return answer_later

    def answer(request: HttpRequest) -> HttpResponseBase:
        return guarded(get_response(request))

    return answer
