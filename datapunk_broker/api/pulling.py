"""Pull messages, and wait for them where there are none yet."""

from collections.abc import Awaitable
from typing import Annotated, Any, cast

from asgiref.sync import sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from msgspec import Meta, Struct
from rest_framework.request import Request
from rest_framework.response import Response

from datapunk_broker.api import waiting
from datapunk_broker.api.described import operation
from datapunk_broker.api.door import Door
from datapunk_broker.api.message_shapes import PulledMessage, pulled
from datapunk_broker.api.reading import parsed
from datapunk_broker.api.subscriptions import subscription_for
from datapunk_broker.rights import Action


class Wanted(Struct, kw_only=True, forbid_unknown_fields=True):
    """How many messages at most, and how long to wait for the first."""

    max_messages: Annotated[int, Meta(ge=1, le=1000)] = 100
    wait_seconds: Annotated[float, Meta(ge=0, le=20)] = 0.0


class PulledMessages(Struct):
    """What was claimed, for the subscription's ack deadline."""

    messages: list[PulledMessage]


class Pull(Door):
    """An asynchronous view, so that waiting holds neither a thread nor a database connection."""

    room = "settling"

    @operation("pull", body=Wanted, answers={200: PulledMessages})
    async def post(self, request: Request, name: str) -> Response:
        """Claim messages of a pull subscription; an empty list when none came in time."""
        wanted, messages = await sync_to_async(self._at_once)(request, name)
        if not messages and wanted.wait_seconds:
            await waiting.let_go_of_thread()
            messages = await waiting.wait(name, wanted.max_messages, wanted.wait_seconds)
        return Response(PulledMessages([pulled(message) for message in messages]))

    def _at_once(self, request: Request, name: str) -> tuple[Wanted, waiting.Messages]:
        subscription_for(request.user, Action.SUBSCRIBE, name)
        wanted = parsed(request, Wanted)
        return wanted, waiting.claim(name, wanted.max_messages)

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        """Do as APIView does, whose own parts are synchronous, in the request's thread."""
        self.args, self.kwargs = args, kwargs
        self.request = self.initialize_request(request, *args, **kwargs)
        self.headers = self.default_response_headers
        try:
            await sync_to_async(self.initial)(self.request, *args, **kwargs)
            handler = self.post if request.method == "POST" else self.http_method_not_allowed
            response = await cast("Awaitable[Any]", handler(self.request, *args, **kwargs))
        except Exception as error:  # noqa: BLE001 - what is no refusal is raised again in there
            response = await sync_to_async(self.handle_exception)(error)
        self.response = self.finalize_response(self.request, response, *args, **kwargs)
        return self.response
