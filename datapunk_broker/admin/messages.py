"""Messages: what was published, where it was routed and what became of it, to be read."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.db.models.functions import Length
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path

from datapunk_broker.admin.base import ReadOnlyAdmin, with_names
from datapunk_broker.admin.counting import MOST
from datapunk_broker.admin.fates import attempts_of, deliveries_of, routed_to, stamp, stream_of, to_the_second
from datapunk_broker.admin.filters import MomentFilter, TopicFilter
from datapunk_broker.admin.linking import code, link, page_of
from datapunk_broker.admin.payloads import body_of, header_lines, show
from datapunk_broker.exceptions import PayloadInvalidError
from datapunk_broker.ids import first_id_at
from datapunk_broker.models import Message, Topic

FOUND = 1000
"""At most so many messages are found by a key."""


class PublishedFilter(MomentFilter):
    """By when it was published, by the time that an id begins with: the primary key is the index."""

    title = "time of publishing"

    def narrow(self, queryset: QuerySet[Any], since: datetime | None, until: datetime | None) -> QuerySet[Any]:
        if since:
            queryset = queryset.filter(pk__gte=first_id_at(since))
        return queryset.filter(pk__lt=first_id_at(until)) if until else queryset


class MessageAdmin(ReadOnlyAdmin[Message]):
    """The messages."""

    list_display = ("id", "topic_link", "key", "correlation", "stored", "published")
    list_filter = (TopicFilter, PublishedFilter)
    search_fields = ("id",)
    search_help_text = (
        f"A message's id, its idempotency key, or its correlation id (among the newest {MOST:,} of the list)."
    )
    ordering = ("-id",)
    fieldsets = (
        (None, {"fields": ("id", "topic_link", "key", "routed", "published", "available", "expires")}),
        (
            "About it",
            {"fields": ("content_type", "stored", "priority", "ordering_key", "idempotency_key", "correlation_id")},
        ),
        ("Where it leads", {"fields": ("reply_to", "from_message")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        rows = with_names(super().get_queryset(request)).annotate(stored_bytes=Length("body"))
        return rows.defer("body")

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:  # noqa: ARG002
        term = search_term.strip()
        if not term:
            return queryset, False
        topics = Topic.objects.order_by().values("pk")
        by_key = queryset.filter(topic__in=topics, idempotency_key=term)
        newest = queryset.order_by("-pk").values_list("pk", flat=True)
        oldest = newest[MOST - 1 : MOST].first()
        by_correlation = queryset.filter(correlation_id=term, **({"pk__gte": oldest} if oldest else {}))
        ids = {pk for some in (by_key, by_correlation) for pk in some.values_list("pk", flat=True)[:FOUND]}
        return queryset.filter(pk__in=[*ids, *id_in(term)]), False

    def get_urls(self) -> Any:
        view = self.admin_site.admin_view(self.payload_view)
        return [path("<path:object_id>/payload/", view, name="datapunk_broker_message_payload"), *super().get_urls()]

    def payload_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Hand the published bytes out as a file."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        message = self.get_object(request, object_id)
        if message is None:
            raise Http404
        try:
            body = body_of(message)
        except PayloadInvalidError as error:
            raise Http404(str(error)) from error
        headers = {"Content-Disposition": f'attachment; filename="{message.pk}"', "X-Content-Type-Options": "nosniff"}
        return HttpResponse(body, content_type="application/octet-stream", headers=headers)

    @admin.display(description="topic")
    def topic_link(self, row: Any) -> Any:
        return link(page_of("topic", row.topic_id), row.topic_name) if row.topic_name else f"#{row.topic_id} (gone)"

    @admin.display(description="routing key")
    def key(self, row: Message) -> Any:
        return code(row.routing_key)

    @admin.display(description="routed to")
    def routed(self, row: Message) -> Any:
        return routed_to(row)

    @admin.display(description="bytes")
    def stored(self, row: Any) -> str:
        packed = "" if row.encoding == "identity" else f" ({row.encoding})"
        return f"{row.stored_bytes:,}{packed}"

    @admin.display(description="correlation id")
    def correlation(self, row: Message) -> str:
        return row.correlation_id or ""

    @admin.display(description="redriven from")
    def from_message(self, row: Message) -> Any:
        return link(page_of("message", row.redriven_from), row.redriven_from) if row.redriven_from else "-"

    @admin.display(description="published at")
    def published(self, row: Message) -> str:
        return to_the_second(row.published_at)

    @admin.display(description="available at")
    def available(self, row: Message) -> str:
        return stamp(row.available_at)

    @admin.display(description="expires at")
    def expires(self, row: Message) -> str:
        return stamp(row.expires_at) or "never"

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        message = context["original"]
        context |= {
            "payload": show(message),
            "payload_url": page_of("message", message.pk, "payload"),
            "message_headers": header_lines(message),
            "tables": [deliveries_of(message), attempts_of(message.pk), stream_of(message)],
        }
        return super().render_change_form(request, context, *args, **kwargs)


def id_in(term: str) -> list[UUID]:
    """Return the id that a text is, if it is one."""
    try:
        return [UUID(term.strip())]
    except ValueError:
        return []
