"""Export dead letters as JSON lines, a page at a time, however many there are."""

from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import msgspec
from asgiref.sync import sync_to_async
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import path

from datapunk_broker.admin.base import database
from datapunk_broker.admin.linking import list_of
from datapunk_broker.admin.payloads import body_of, is_json
from datapunk_broker.admin.redriving import RedrivingAdmin
from datapunk_broker.exceptions import PayloadInvalidError
from datapunk_broker.models import DeadLetter, Message

PAGE = 100
"""Dead letters read at once: their payloads may be large."""

Reading = Callable[[int], tuple[bytes, int]]


class ExportingAdmin(RedrivingAdmin):
    """A room of dead letters that whoever may see them may take along."""

    def get_urls(self) -> Any:
        view = self.admin_site.admin_view(self.export_view)
        return [path("export/", view, name="datapunk_broker_deadletter_export"), *super().get_urls()]

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Export what the list shows, by the same filters."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            rows = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(list_of("deadletter", e=1))
        return self.export_selected(request, rows)

    @admin.action(permissions=["view"], description="Export selected dead letters as JSON lines")
    def export_selected(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponseBase:
        reading = _reading(queryset)
        lines = _lines_async(reading) if isinstance(request, ASGIRequest) else _lines(reading)
        headers = {"Content-Disposition": 'attachment; filename="dead-letters.jsonl"'}
        return StreamingHttpResponse(lines, content_type="application/jsonl", headers=headers)


def _lines(read: Reading) -> Iterator[bytes]:
    after = 0
    while True:
        lines, after = read(after)
        if not lines:
            return
        yield lines


async def _lines_async(read: Reading) -> AsyncIterator[bytes]:
    after = 0
    while True:
        lines, after = await sync_to_async(read)(after)
        if not lines:
            return
        yield lines


def _reading(queryset: QuerySet[DeadLetter]) -> Reading:
    """Return what reads the lines of the next page behind an id, and its last id."""
    ordered = queryset.order_by("pk")

    def read(after: int) -> tuple[bytes, int]:
        page: Sequence[Any] = list(ordered.filter(pk__gt=after)[:PAGE])
        messages = Message.objects.using(database()).in_bulk([row.message_id for row in page])
        lines = b"".join(line_of(row, messages.get(row.message_id)) for row in page)
        return lines, page[-1].pk if page else after

    return read


def line_of(row: Any, message: Message | None) -> bytes:
    """Return a dead letter as a line of JSON, its payload byte for byte where that is JSON itself."""
    fields = {
        "id": row.pk,
        "topic": row.topic_name,
        "subscription": row.subscription_name,
        "message": row.message_id,
        "reason": row.reason,
        "error": ": ".join(filter(None, (row.error_class, row.error_message))),
        "attempts": row.attempts,
        "first_failed_at": row.first_failed_at,
        "dead_at": row.dead_at,
        "redrives": row.redrives,
        "redriven_at": row.redriven_at,
        **(_of_message(message) if message else {"payload": None}),
    }
    return msgspec.json.encode(fields) + b"\n"


def _of_message(message: Message) -> dict[str, Any]:
    return {
        "routing_key": message.routing_key,
        "headers": message.headers,
        "content_type": message.content_type,
        "correlation_id": message.correlation_id,
        **_payload(message),
    }


def _payload(message: Message) -> dict[str, Any]:
    try:
        body = body_of(message)
    except PayloadInvalidError as error:
        return {"payload": None, "payload_problem": error.problem}
    if is_json(message, body):
        return {"payload": msgspec.Raw(body.replace(b"\r", b" ").replace(b"\n", b" "))}
    try:
        return {"payload": body.decode()}
    except UnicodeDecodeError:
        return {"payload_base64": b64encode(body).decode()}
