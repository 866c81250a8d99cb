"""Topics: made, changed and deleted by the broker's verbs."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from datapunk_broker import broker, rights
from datapunk_broker.admin.base import database
from datapunk_broker.admin.confirming import TEMPLATE, Question, ask, is_confirmed
from datapunk_broker.admin.counting import Bounded, backlogs_of, dead_letters_of
from datapunk_broker.admin.fates import MOST_ROWS, Table
from datapunk_broker.admin.fields import say_default
from datapunk_broker.admin.linking import link, list_of, mark, page_of
from datapunk_broker.admin.saving import VerbAdmin, VerbForm, given
from datapunk_broker.conf import TopicConfig, get_config
from datapunk_broker.exceptions import BrokerError
from datapunk_broker.models import Subscription, Topic
from datapunk_broker.rights import Action
from datapunk_broker.states import Transport

INHERITED = {
    "delivery_mode": "delivery_mode",
    "persistent": "enable_persistence",
    "max_message_size": "max_message_size",
    "max_queue_size": "max_queue_size",
    "overflow": "overflow",
    "max_subscribers": "max_subscribers",
    "retention_hours": "retention_hours",
    "compression_threshold": "compression_threshold",
}
"""A topic's options, and the settings that hold where one is empty."""

GOES_TOO = "subscriptions and messages"


class TopicForm(VerbForm[Topic]):
    """A topic's options; an empty one takes the setting that it shows."""

    names: ClassVar[dict[str, str]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        config = get_config()
        for name, setting in INHERITED.items():
            if name in self.fields:
                say_default(self.fields[name], getattr(config, setting), "settings")
        if "type" in self.fields and self.instance.pk is None:
            self.initial.setdefault("type", config.topic_type.value)


class ForceForm(forms.Form):
    """What it takes to delete a topic that is in use."""

    force = forms.BooleanField(required=False, label="Delete it by force, with the deliveries that wait")


class TopicAdmin(VerbAdmin[Topic]):
    """The topics."""

    form = TopicForm
    list_display = ("name", "kind", "subscriptions", "backlog", "dead_letters", "keeps_stream", "is_declared")
    list_filter = ("type",)
    search_fields = ("name",)
    ordering = ("name",)
    actions = ("delete_topics",)
    delete_confirmation_template = TEMPLATE
    fieldsets = (
        (None, {"fields": ("name", "type", "delivery_mode", "persistent", "schema")}),
        ("Limits", {"fields": ("max_message_size", "max_queue_size", "overflow", "max_subscribers")}),
        ("Keeping", {"fields": ("retention_hours", "compression_threshold", "stream", "history", "dead_letter_topic")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Topic]:
        return super().get_queryset(request).filter(deleted_at=None)

    def get_readonly_fields(self, request: HttpRequest, obj: Topic | None = None) -> tuple[str, ...]:  # noqa: ARG002
        return ("name",) if obj else ()

    def count_for(self, rows: Sequence[Topic]) -> None:
        by_topic: dict[int, list[tuple[int, bool]]] = {row.pk: [] for row in rows}
        people = Subscription.objects.using(database()).exclude(transport=Transport.STREAM)
        for pk, topic, deleted in people.filter(topic__in=by_topic).values_list("pk", "topic_id", "deleted_at"):
            by_topic[topic].append((pk, deleted is None))
        everyone = [pk for subscriptions in by_topic.values() for pk, _ in subscriptions]
        backlogs = backlogs_of([pk for some in by_topic.values() for pk, live in some if live], database())
        letters = dead_letters_of(everyone, database())
        for row in rows:
            live = [pk for pk, is_live in by_topic[row.pk] if is_live]
            vars(row)["counted_subscriptions"] = len(live)
            vars(row)["counted_backlog"] = sum((backlogs[pk] for pk in live), Bounded())
            vars(row)["counted_dead"] = sum((letters[pk] for pk, _ in by_topic[row.pk]), Bounded())

    @admin.display(description="type")
    def kind(self, topic: Topic) -> str:
        return str(topic.type)

    @admin.display(description="subscriptions")
    def subscriptions(self, topic: Topic) -> Any:
        return link(list_of("subscription", topic=topic.pk), vars(topic)["counted_subscriptions"])

    @admin.display(description="backlog")
    def backlog(self, topic: Topic) -> Any:
        return vars(topic)["counted_backlog"]

    @admin.display(description="dead letters")
    def dead_letters(self, topic: Topic) -> Any:
        dead = vars(topic)["counted_dead"]
        return link(list_of("deadletter", topic=topic.pk), dead) if dead else dead

    @admin.display(description="stream", boolean=True)
    def keeps_stream(self, topic: Topic) -> bool:
        return topic.stream

    @admin.display(description="declared")
    def is_declared(self, topic: Topic) -> str:
        return "in code" if topic.declared is not None else ""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: Any) -> None:
        if target := given(form, change=bool(change)).get("dead_letter_topic"):
            # Copies of dead letters are published on behalf of who names the topic for them.
            rights.require(request.user, Action.PUBLISH, target)
        super().save_related(request, form, formsets, change)

    def keep(self, form: Any, formsets: Any, *, change: bool) -> Topic:  # noqa: ARG002 - a topic has no inlines
        options = given(form, change=change)
        if change:
            return broker.update_topic(form.instance.name, options)
        return broker.create_topic(TopicConfig(**options))

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        topic = context["original"]
        if topic is not None:
            context["tables"] = [_subscriptions_of(topic)]
            context["links"] = [
                (list_of("message", topic=topic.pk), "Messages"),
                (list_of("deadletter", topic=topic.pk), "Dead letters"),
            ]
        return super().render_change_form(request, context, *args, **kwargs)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Name what goes with the topics; the engine deletes it by a tombstone."""
        lacking = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        return [str(topic) for topic in objs], {self.opts.verbose_name_plural: len(objs)}, lacking, []

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        topic = self.get_object(request, object_id)
        question = _question([topic], "Yes, delete it") if topic else None
        try:
            return super().delete_view(request, object_id, {**(extra_context or {}), **_context(question, topic)})
        except BrokerError as refusal:
            self.message_user(request, str(refusal), "ERROR")
            return HttpResponseRedirect(request.get_full_path())

    def delete_model(self, request: HttpRequest, obj: Topic) -> None:
        broker.delete_topic(obj.name, force="force" in request.POST)

    def get_actions(self, request: HttpRequest) -> Any:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    @admin.action(permissions=["delete"], description="Delete selected topics…")
    def delete_topics(self, request: HttpRequest, queryset: QuerySet[Topic]) -> HttpResponse | None:
        topics = list(queryset)
        if is_confirmed(request):
            try:
                with transaction.atomic(using=database()):
                    self.log_deletions(request, queryset)
                    for topic in topics:
                        self.delete_model(request, topic)
            except BrokerError as refusal:
                self.message_user(request, f"Nothing was deleted. {refusal}", "ERROR")
            else:
                self.message_user(request, f"Deleted: {', '.join(topic.name for topic in topics)}.", "SUCCESS")
                return None
        return ask(self, request, _question(topics, "Yes, delete them"))


def _question(topics: Sequence[Topic], submit: str) -> Question:
    subscriptions = Subscription.objects.using(database()).listed().filter(topic__in=topics)
    of_topic: dict[int, list[int]] = {topic.pk: [] for topic in topics}
    for pk, topic_id in subscriptions.values_list("pk", "topic_id"):
        of_topic[topic_id].append(pk)
    waiting = backlogs_of([pk for some in of_topic.values() for pk in some], database())
    rows = [
        (topic.name, len(of_topic[topic.pk]), sum((waiting[pk] for pk in of_topic[topic.pk]), Bounded()))
        for topic in topics
    ]
    is_busy = any(row[2] for row in rows)
    return Question(
        title="Delete topics",
        sentence=f"Delete {'this topic with its' if len(topics) == 1 else 'these topics with their'} {GOES_TOO}?",
        columns=("Topic", "Subscriptions", "Deliveries that wait"),
        rows=rows,
        note="While deliveries wait, a topic is deleted by force alone." if is_busy else "",
        form=ForceForm() if is_busy else None,
        submit=submit,
    )


def _context(question: Question | None, topic: Topic | None) -> dict[str, Any]:
    if question is None or topic is None:
        return {}
    return {**question.context, "title": "Delete topic", "cancel_url": page_of("topic", topic.pk)}


def _subscriptions_of(topic: Topic) -> Table:
    rows = list(Subscription.objects.using(database()).listed().of_topic(topic).order_by("name")[: MOST_ROWS + 1])
    waiting = backlogs_of([row.pk for row in rows], database())
    lines = (
        (link(page_of("subscription", row.pk), row.name), row.transport, mark(row.state), waiting[row.pk])
        for row in rows
    )
    return Table.of("Subscriptions", "Name | Transport | State | Backlog", lines, "Nobody is subscribed.")
