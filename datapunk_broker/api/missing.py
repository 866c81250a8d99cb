"""What is nowhere: a problem as every other, or the way to an address that lacks its last slash."""

from typing import Any

from django.http import HttpResponseBase, HttpResponsePermanentRedirect
from django.urls import Resolver404, resolve
from rest_framework.exceptions import NotFound
from rest_framework.request import Request

from datapunk_broker.api.door import Door


class Missing(Door):
    """Every address under the API that is none."""

    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if not _is_there(f"{request.path_info}/"):
            raise NotFound("There is nothing at this address.")
        if request.method not in ("GET", "HEAD"):
            raise NotFound("Addresses end with a slash, and this one does not.")

    def get(self, request: Request) -> HttpResponseBase:
        return HttpResponsePermanentRedirect(request.get_full_path(force_append_slash=True))


def _is_there(path: str) -> bool:
    try:
        return resolve(path).func.cls is not Missing  # type: ignore[attr-defined]
    except Resolver404:
        return False
