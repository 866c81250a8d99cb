"""Static files by WhiteNoise, without making every asynchronous view hold a thread."""

from collections.abc import Awaitable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from whitenoise.middleware import WhiteNoiseMiddleware


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]  # it has no types
    """WhiteNoise's own middleware is synchronous: behind it, a request that waits would hold a thread meanwhile."""

    async_capable = sync_capable = True

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        response: HttpResponseBase | Awaitable[HttpResponseBase] = super().__call__(request)
        return _awaited(response) if iscoroutinefunction(self) else response


async def _awaited(response: HttpResponseBase | Awaitable[HttpResponseBase]) -> HttpResponseBase:
    return response if isinstance(response, HttpResponseBase) else await response
