"""Subscriptions with their bindings: made, changed, paused, resumed and deleted by the broker's verbs."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from datapunk_broker import broker
from datapunk_broker.admin.base import database, with_names
from datapunk_broker.admin.bindings import BindingInline
from datapunk_broker.admin.confirming import TEMPLATE, Question, ask, is_confirmed
from datapunk_broker.admin.counting import backlogs_of, dead_letters_of
from datapunk_broker.admin.fates import stamp
from datapunk_broker.admin.filters import LiveChoicesFilter, TopicFilter
from datapunk_broker.admin.linking import link, list_of, mark, page_of
from datapunk_broker.admin.pausing import PausingAdmin
from datapunk_broker.admin.saving import given
from datapunk_broker.admin.subscription_form import SubscriptionForm
from datapunk_broker.conf import SubscriptionConfig
from datapunk_broker.exceptions import BrokerError
from datapunk_broker.models import Subscription, Topic
from datapunk_broker.states import SubscriptionState, Transport

NOW = ("flow", "breaker_now", "backlog", "dead_letters", "handler", "has_secret", "is_declared")
"""What is shown of a subscription beside its options."""

FIELDSETS = (
    (None, {"fields": ("name", "topic", "transport", "mode", "delivery_mode", "ordering")}),
    (
        "Retries",
        {"fields": ("max_attempts", "retry_strategy", "retry_delay", "backoff_factor", "max_retry_delay", "jitter")},
    ),
    ("Pace", {"fields": ("ack_deadline", "timeout", "batch_size", "batch_window", "max_in_flight", "breaker")}),
    ("Webhook", {"fields": ("endpoint_url", "new_secret"), "classes": ("collapse",)}),
)


class SubscriptionAdmin(PausingAdmin):
    """The subscriptions that people made."""

    form = SubscriptionForm
    inlines = (BindingInline,)
    list_display = ("name", "topic_link", "transport", "flow", "breaker_mark", "backlog", "dead_letters")
    list_filter = (
        TopicFilter,
        ("state", LiveChoicesFilter),
        ("transport", LiveChoicesFilter),
        "breaker_state",
    )
    search_fields = ("name",)
    ordering = ("name",)
    actions = ("pause_selected", "resume_selected", "delete_subscriptions")
    delete_confirmation_template = TEMPLATE

    def get_queryset(self, request: HttpRequest) -> QuerySet[Subscription]:
        rows = super().get_queryset(request).exclude(state=SubscriptionState.DELETED)
        return with_names(rows.exclude(transport=Transport.STREAM))

    def get_fieldsets(self, request: HttpRequest, obj: Subscription | None = None) -> Any:
        if obj is None:
            return FIELDSETS
        if self.has_change_permission(request, obj):
            return (("Now", {"fields": NOW}), *FIELDSETS)
        # Who may only look has no form, and the new secret is no column.
        return (("Now", {"fields": NOW}), *FIELDSETS[:-1], ("Webhook", {"fields": ("endpoint_url",)}))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:  # noqa: ARG002
        return ("name", "topic", *NOW) if obj else ()

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "topic":
            kwargs["queryset"] = Topic.objects.using(database()).live().order_by("name")
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def count_for(self, rows: Sequence[Subscription]) -> None:
        ids = [row.pk for row in rows]
        backlogs, letters = backlogs_of(ids, database()), dead_letters_of(ids, database())
        for row in rows:
            vars(row).update(counted_backlog=backlogs[row.pk], counted_dead=letters[row.pk])

    @admin.display(description="topic")
    def topic_link(self, row: Any) -> Any:
        return link(page_of("topic", row.topic_id), row.topic_name)

    @admin.display(description="state")
    def flow(self, row: Subscription) -> Any:
        return mark(row.state)

    @admin.display(description="breaker")
    def breaker_mark(self, row: Subscription) -> Any:
        return mark(row.breaker_state)

    @admin.display(description="breaker")
    def breaker_now(self, row: Subscription) -> str:
        until = f", until {stamp(row.breaker_until)}" if row.breaker_until else ""
        return f"{row.get_breaker_state_display()}, {row.breaker_failures} failures in a row{until}"

    @admin.display(description="backlog")
    def backlog(self, row: Subscription) -> Any:
        return vars(row)["counted_backlog"]

    @admin.display(description="dead letters")
    def dead_letters(self, row: Subscription) -> Any:
        dead = vars(row)["counted_dead"]
        return link(list_of("deadletter", subscription=row.pk), dead) if dead else dead

    @admin.display(description="secret")
    def has_secret(self, row: Subscription) -> str:
        return "set; it is not shown" if row.secret else "none"

    @admin.display(description="declared")
    def is_declared(self, row: Subscription) -> str:
        return "in code" if row.declared is not None else "no"

    def keep(self, form: Any, formsets: Any, *, change: bool) -> Subscription:
        options = given(form, change=change)
        if secret := options.pop("new_secret", ""):
            options["secret"] = secret
        for bindings in formsets:
            if bindings.has_changed():
                options["bindings"] = bindings.configs()
        if change:
            return broker.update_subscription(form.instance.name, options)
        options["topic"] = options["topic"].name
        return broker.create_subscription(SubscriptionConfig(**options))

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        row = context["original"]
        if row is not None:
            self.count_for([row])
            context |= {
                "may_turn": self.has_change_permission(request, row),
                "flows": row.state == SubscriptionState.ACTIVE,
                "pause_url": page_of("subscription", row.pk, "pause"),
                "resume_url": page_of("subscription", row.pk, "resume"),
                "links": [(list_of("deadletter", subscription=row.pk), "Dead letters")],
            }
        return super().render_change_form(request, context, *args, **kwargs)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Name what goes; the engine deletes by a tombstone."""
        lacking = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        return [str(row) for row in objs], {self.opts.verbose_name_plural: len(objs)}, lacking, []

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        row = self.get_object(request, object_id)
        context = _question([row]).context if row else {}
        if row:
            context |= {"title": "Delete subscription", "cancel_url": page_of("subscription", row.pk)}
        try:
            return super().delete_view(request, object_id, {**(extra_context or {}), **context})
        except BrokerError as refusal:
            self.message_user(request, str(refusal), "ERROR")
            return HttpResponseRedirect(list_of("subscription"))

    def delete_model(self, request: HttpRequest, obj: Subscription) -> None:  # noqa: ARG002 - Django's
        broker.delete_subscription(obj.name)

    @admin.action(permissions=["delete"], description="Delete selected subscriptions…")
    def delete_subscriptions(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> HttpResponse | None:
        rows = list(queryset)
        if not is_confirmed(request):
            return ask(self, request, _question(rows))
        try:
            with transaction.atomic(using=database()):
                self.log_deletions(request, queryset)
                for row in rows:
                    self.delete_model(request, row)
        except BrokerError as refusal:
            self.message_user(request, f"Nothing was deleted. {refusal}", "ERROR")
        else:
            self.message_user(request, f"Deleted: {', '.join(row.name for row in rows)}.", "SUCCESS")
        return None


def _question(rows: Sequence[Subscription]) -> Question:
    waiting = backlogs_of([row.pk for row in rows], database())
    return Question(
        title="Delete subscriptions",
        sentence="Delete these, and what they are still owed?",
        columns=("Subscription", "Deliveries that wait"),
        rows=[(row.name, waiting[row.pk]) for row in rows],
        submit="Yes, delete",
    )
