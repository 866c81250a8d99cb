"""Dead letters: found, looked into, redriven, discarded."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from datapunk_broker import broker
from datapunk_broker.admin.base import database, with_names
from datapunk_broker.admin.confirming import TEMPLATE, Question, ask, is_confirmed
from datapunk_broker.admin.editing import editable
from datapunk_broker.admin.exporting import ExportingAdmin
from datapunk_broker.admin.fates import attempts_of, stamp, to_the_second
from datapunk_broker.admin.filters import MomentFilter, SubscriptionFilter, TopicFilter
from datapunk_broker.admin.linking import link, page_of
from datapunk_broker.admin.messages import id_in
from datapunk_broker.admin.payloads import header_lines, show
from datapunk_broker.admin.redriving import Chosen
from datapunk_broker.models import DeadLetter, Message

LATEST = ("-dead_at", "-id")

STATES = {"redriven": "Redriven", "all": "All"}
"""What else is listed than those that are open."""


REACH = 100_000
"""Where no index finds what a list is filtered by, it chooses among so many of the latest."""

INDEXED = ("subscription", "topic", "reason__exact")
"""What open dead letters have an index by, each with the time of death: one alone leads to the rows."""


class OpenFilter(admin.SimpleListFilter):
    """Open ones, unless others are asked for."""

    title = "state"
    parameter_name = "state"
    params = ("state",)

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:  # noqa: ARG002 - Django's
        return [*STATES.items()]

    def choices(self, changelist: Any) -> Any:
        for value, display in ((None, "Open"), *self.lookup_choices):
            query = changelist.get_query_string({self.parameter_name: value})
            yield {"selected": self.value() == value, "query_string": query, "display": display}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002 - Django's
        if self.value() == "all":
            return queryset
        return queryset.filter(redriven_at__isnull=self.value() != "redriven")


class DeathFilter(MomentFilter):
    """By when it died."""

    title = "time of death"

    def narrow(self, queryset: QuerySet[Any], since: datetime | None, until: datetime | None) -> QuerySet[Any]:
        if since:
            queryset = queryset.filter(dead_at__gte=since)
        return queryset.filter(dead_at__lt=until) if until else queryset


class DeadLetterAdmin(ExportingAdmin):
    """The dead letters."""

    list_display = ("id", "where", "topic_name", "reason", "error", "attempts", "died")
    list_display_links = ("id", "where")
    list_filter = (OpenFilter, SubscriptionFilter, TopicFilter, "reason", DeathFilter)
    search_fields = ("message",)
    search_help_text = "The id of a message."
    actions = ("redrive_selected", "discard_selected", "export_selected")
    delete_confirmation_template = TEMPLATE
    fieldsets = (
        (None, {"fields": ("where", "topic_name", "reason", "error_class", "error_message", "attempts")}),
        ("Provenance", {"fields": ("message_link", "from_message", "first_failed", "died", "redriven")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeadLetter]:
        return with_names(super().get_queryset(request), subscription=True).defer("traceback")

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        return ("-pk",) if request.GET.get("state") == "all" else LATEST

    def within_reach(self, request: HttpRequest, rows: QuerySet[Any]) -> tuple[QuerySet[Any], int | None]:
        state, chosen = request.GET.get("state"), [name for name in INDEXED if request.GET.get(name)]
        is_timed = state == "all" and any(request.GET.get(name) for name in DeathFilter.params)
        if request.GET.get("q") or not (is_timed or len(chosen) > (0 if state in STATES else 1)):
            return rows, None
        column = "pk" if state == "all" else "dead_at"
        everything: Any = DeadLetter.objects.using(database())
        if state != "all":
            everything = everything.filter(redriven_at__isnull=state != "redriven")
        latest = everything.order_by(*self.get_ordering(request)).values_list(column, flat=True)
        oldest = latest[REACH : REACH + 1].first()
        return (rows, None) if oldest is None else (rows.filter(**{f"{column}__gt": oldest}), REACH)

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:  # noqa: ARG002
        return (queryset.filter(message__in=id_in(search_term)) if search_term.strip() else queryset), False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - Django's
        return self.may(request, "delete")

    def get_actions(self, request: HttpRequest) -> Any:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    @admin.display(description="subscription")
    def where(self, row: Any) -> str:
        return row.subscription_name or f"#{row.subscription_id} (gone)"

    @admin.display(description="topic")
    def topic_name(self, row: Any) -> str:
        return row.topic_name or f"#{row.topic_id} (gone)"

    @admin.display(description="error")
    def error(self, row: DeadLetter) -> str:
        said = ": ".join(filter(None, (row.error_class, row.error_message)))
        return said if len(said) <= 100 else f"{said[:100]}…"  # noqa: PLR2004 - a line of a list

    @admin.display(description="message")
    def message_link(self, row: DeadLetter) -> Any:
        return link(page_of("message", row.message_id), row.message_id)

    @admin.display(description="redriven from")
    def from_message(self, row: DeadLetter) -> Any:
        source = Message.objects.using(database()).filter(pk=row.message_id).values_list("redriven_from", flat=True)
        pk = source.first()
        return link(page_of("message", pk), f"message {pk}") if pk else "-"

    @admin.display(description="redriven")
    def redriven(self, row: DeadLetter) -> str:
        before = f"before it died: {row.redrives or 'never'}"
        return f"{before}; since then: {stamp(row.redriven_at) or 'no, it is open'}"

    @admin.display(description="died at")
    def died(self, row: DeadLetter) -> str:
        return to_the_second(row.dead_at)

    @admin.display(description="first failed at")
    def first_failed(self, row: DeadLetter) -> str:
        return stamp(row.first_failed_at)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        letter = context["original"]
        message = Message.objects.using(database()).filter(pk=letter.message_id).first()
        may_redrive = letter.redriven_at is None and self.has_redrive_permission(request)
        context |= {
            "subtitle": f"{self.where(letter)}: {letter.get_reason_display()}",
            "payload": show(message) if message else None,
            "message_headers": header_lines(message) if message else [],
            "tables": [attempts_of(letter.message_id, letter.subscription_id)],
            "redrive_url": page_of("deadletter", letter.pk, "redrive") if may_redrive and message else "",
            "edit_url": page_of("deadletter", letter.pk, "edit") if may_redrive and _can_edit(message) else "",
        }
        return super().render_change_form(request, context, *args, **kwargs)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        lacking = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        return [str(row) for row in objs], {self.opts.verbose_name_plural: len(objs)}, lacking, []

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        letter = self.get_object(request, object_id)
        context: dict[str, Any] = {}
        if letter is not None:
            rows = [(self.where(letter), letter.message_id, letter.get_reason_display())]
            question = _question(rows, ("Subscription", "Message", "Reason"), "Throw this dead letter away?", "")
            context = {**question.context, "cancel_url": page_of("deadletter", letter.pk)}
        return super().delete_view(request, object_id, {**(extra_context or {}), **context})

    def delete_model(self, request: HttpRequest, obj: DeadLetter) -> None:  # noqa: ARG002 - Django's
        broker.discard(DeadLetter.objects.filter(pk=obj.pk))

    @admin.action(permissions=["delete"], description="Discard selected dead letters…")
    def discard_selected(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        chosen = Chosen.of(request, queryset)
        if is_confirmed(request):
            count = broker.discard(chosen.queryset)
            self.log_many(request, f"{count:,} dead letters", "Discarded.")
            self.message_user(request, f"Discarded: {count:,}.", "SUCCESS")
            return None
        columns = ("Subscription", "Topic", "State", "Dead letters")
        sentence = f"Throw {chosen.count:,} dead letters away?"
        return ask(self, request, _question(chosen.table(), columns, sentence, chosen.note), last=chosen.last)


def _question(rows: Sequence[Any], columns: Sequence[str], sentence: str, note: str) -> Question:
    return Question(
        title="Discard dead letters",
        sentence=f"{sentence} What was published stays as long as the topic keeps it.",
        columns=columns,
        rows=rows,
        note=note,
        submit="Yes, discard",
    )


def _can_edit(message: Message | None) -> bool:
    return message is not None and editable(message) is not None
