"""What every view of the API has in common, whatever the project's own settings of REST framework are."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from django.db.models import Model, QuerySet
from rest_framework.authentication import SessionAuthentication, TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.throttling import UserRateThrottle
from rest_framework.views import APIView

from datapunk_broker.api.described import Described
from datapunk_broker.api.problems import problem_of
from datapunk_broker.api.reading import check_announced
from datapunk_broker.conf import get_config

M = TypeVar("M", bound=Model)


class JsonRenderer(BaseRenderer):
    """Writes structs; a ``msgspec.Raw`` in them is written as it came."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        return b"" if data is None else msgspec.json.encode(data)


class OneFormat(BaseContentNegotiation):
    """There is one format, whatever is asked for."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return next(iter(parsers), None)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> tuple[Any, str]:
        return renderers[0], renderers[0].media_type


class Tokens(TokenAuthentication):
    """``Authorization: Token …``."""

    def authenticate_credentials(self, key: str) -> Any:
        if not key.isprintable():
            raise AuthenticationFailed("Invalid token.")
        return super().authenticate_credentials(key)


class Sessions(SessionAuthentication):
    """A browser that is signed in, with its CSRF token for whatever changes something."""

    def enforce_csrf(self, request: Request) -> None:
        # REST framework's own request would parse the body for this, before anybody looked at its size.
        super().enforce_csrf(request._request)  # type: ignore[arg-type]  # noqa: SLF001


class Throttle(UserRateThrottle):
    """So many requests of a user, or of an address that is nobody's yet, as the settings say."""

    scope = "datapunk_broker"

    def get_rate(self) -> str | None:
        return get_config().throttle


class Door(APIView):
    """A view: credentials are asked for, bodies are bounded, errors are problems."""

    authentication_classes: Any = (Tokens, Sessions)  # the first says what a 401 asks for
    permission_classes: Any = (IsAuthenticated,)
    throttle_classes = (Throttle,)
    renderer_classes: Any = (JsonRenderer,)
    parser_classes = ()
    content_negotiation_class = OneFormat
    versioning_class = None
    metadata_class = None
    http_method_names = ["get", "head", "post", "patch", "delete"]
    schema: Any = Described()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        check_announced(request)
        super().initial(request, *args, **kwargs)

    def get_exception_handler(self) -> Any:
        return problem_of


def rows(model: type[M]) -> QuerySet[M]:
    """Return a table's rows, in the broker's database."""
    return model._default_manager.using(get_config().database)
