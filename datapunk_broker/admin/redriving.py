"""Redrive dead letters: one as it was, one edited, or many at a pace, after asking."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.html import format_html
from django.views.decorators.http import require_POST

from datapunk_broker import broker
from datapunk_broker.admin.base import ReadOnlyAdmin, database
from datapunk_broker.admin.confirming import Question, ask, is_confirmed
from datapunk_broker.admin.editing import EditForm, editable
from datapunk_broker.admin.fates import MOST_ROWS
from datapunk_broker.admin.linking import link, list_of, mark, page_of
from datapunk_broker.exceptions import BrokerError
from datapunk_broker.models import DeadLetter, Message, Subscription

AT_A_TIME = 10_000
"""So many dead letters are redriven or discarded by one request."""

EDIT_TEMPLATE = "admin/datapunk_broker/deadletter/edit.html"


class PaceForm(forms.Form):
    """How fast dead letters are delivered again."""

    rate = forms.FloatField(
        required=False,
        label="At most so many a second",
        help_text="Empty: all at once. With a rate they become due one after the other.",
        widget=forms.NumberInput(attrs={"min": "0", "step": "any", "inputmode": "decimal"}),
    )

    def refuse(self, refusal: BrokerError) -> None:
        """Show what the verb refused."""
        is_rate = getattr(refusal, "field", "") == "rate"
        self.add_error("rate" if is_rate else None, f"The {refusal}".replace(":", "", 1) if is_rate else str(refusal))


@dataclass(frozen=True, slots=True)
class Chosen:
    """Dead letters that somebody chose, the oldest first, ``AT_A_TIME`` at most; later ones do not join."""

    queryset: QuerySet[DeadLetter]
    by_subscription: Counter[int]
    last: int
    more: bool

    @classmethod
    def of(cls, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> "Chosen":
        """Take what was chosen, or what was confirmed."""
        last = request.POST.get("last", "")
        if last.isdecimal():
            queryset = queryset.filter(pk__lte=int(last))
        ordered = queryset.order_by("pk")
        rows = list(ordered.values_list("pk", "subscription_id")[: AT_A_TIME + 1])
        taken = rows[:AT_A_TIME]
        counts = Counter(subscription for _, subscription in taken)
        return cls(ordered[:AT_A_TIME], counts, taken[-1][0] if taken else 0, len(rows) > AT_A_TIME)

    @property
    def count(self) -> int:
        """How many they are."""
        return self.by_subscription.total()

    @property
    def note(self) -> str:
        """What to say when there are more."""
        return f"These are the oldest {AT_A_TIME:,}: do it again for the rest." if self.more else ""

    def table(self) -> list[tuple[Any, ...]]:
        """Return a line for each subscription."""
        named = Subscription.objects.using(database()).select_related("topic").in_bulk(list(self.by_subscription))
        return [_line(named.get(pk), pk, count) for pk, count in self.by_subscription.most_common(MOST_ROWS)]


class RedrivingAdmin(ReadOnlyAdmin[DeadLetter]):
    """A room of dead letters that whoever may change them may deliver again."""

    def has_redrive_permission(self, request: HttpRequest) -> bool:
        """Whether the one who asks may redrive."""
        return self.may(request, "change")

    def get_urls(self) -> Any:
        redrive = self.admin_site.admin_view(require_POST(self.redrive_view))
        edit = self.admin_site.admin_view(self.edit_view)
        return [
            path("<path:object_id>/redrive/", redrive, name="datapunk_broker_deadletter_redrive"),
            path("<path:object_id>/edit/", edit, name="datapunk_broker_deadletter_edit"),
            *super().get_urls(),
        ]

    def redrive_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Redrive the one whose page this is, as it was."""
        letter = self._letter(request, object_id)
        self._redrive_one(request, letter)
        return HttpResponseRedirect(page_of("deadletter", letter.pk))

    def edit_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Redrive one with another payload: the form keeps what was typed until the broker takes it."""
        letter = self._letter(request, object_id)
        message = Message.objects.using(database()).filter(pk=letter.message_id).first()
        text = editable(message) if message else None
        if message is None or text is None or letter.redriven_at is not None:
            self.message_user(request, "This one cannot be edited here.", "WARNING")
            return HttpResponseRedirect(page_of("deadletter", letter.pk))
        form = EditForm(request.POST or None, message=message, initial={"payload": text})
        if form.is_valid() and self._redrive_edited(request, letter, form):
            return HttpResponseRedirect(page_of("deadletter", letter.pk))
        context = {
            **self.admin_site.each_context(request),
            "title": "Edit and redrive",
            "opts": self.opts,
            "media": self.media,
            "form": form,
            "letter": letter,
            "cancel_url": page_of("deadletter", letter.pk),
        }
        return TemplateResponse(request, EDIT_TEMPLATE, context)

    @admin.action(permissions=["redrive"], description="Redrive selected dead letters…")
    def redrive_selected(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        chosen = Chosen.of(request, queryset.filter(redriven_at=None))
        form = PaceForm(request.POST if is_confirmed(request) else None)
        if form.is_valid() and self._redrive_many(request, chosen, form):
            return None
        if not chosen.count:
            self.message_user(request, "None of these is open.", "WARNING")
            return None
        question = Question(
            title="Redrive dead letters",
            sentence=f"Deliver {_said(chosen.count)} again, as they were?",
            columns=("Subscription", "Topic", "State", "Dead letters"),
            rows=chosen.table(),
            note=chosen.note,
            form=form,
            submit="Redrive",
            dangerous=False,
        )
        return ask(self, request, question, last=chosen.last)

    def _letter(self, request: HttpRequest, object_id: str) -> Any:
        if not self.has_redrive_permission(request):
            raise PermissionDenied
        letter = self.get_object(request, object_id)
        if letter is None:
            raise Http404
        return letter

    def _redrive_one(self, request: HttpRequest, letter: DeadLetter) -> None:
        done = broker.redrive({"ids": [letter.pk]})
        if done.count:
            self.log_change(request, letter, "Redriven.")
            self.message_user(request, "It is delivered again.", "SUCCESS")
        else:
            why = "its subscription or message is gone" if done.skipped else "it was redriven already"
            self.message_user(request, f"It was not redriven: {why}.", "ERROR")

    def _redrive_edited(self, request: HttpRequest, letter: DeadLetter, form: EditForm) -> bool:
        if not form.has_changed():
            self._redrive_one(request, letter)
            return True
        try:
            done = broker.redrive({"ids": [letter.pk]}, form.payload_given())
        except BrokerError as refusal:
            form.refuse(refusal)
            return False
        if not done.count:
            form.add_error(None, "It was not redriven: it was redriven already, or its subscription is gone.")
            return False
        new = done.message_ids[0]
        self.log_change(request, letter, f"Edited and redriven as message {new}.")
        self.message_user(
            request, format_html("It is delivered as {}.", link(page_of("message", new), f"message {new}")), "SUCCESS"
        )
        return True

    def _redrive_many(self, request: HttpRequest, chosen: Chosen, form: PaceForm) -> bool:
        try:
            done = broker.redrive(chosen.queryset, rate=form.cleaned_data["rate"])
        except BrokerError as refusal:
            form.refuse(refusal)
            return False
        skipped = f" {len(done.skipped):,} were skipped: their subscription or message is gone." if done.skipped else ""
        self.log_many(request, _said(done.count), f"Redriven.{skipped}")
        self.message_user(request, f"Redriven: {_said(done.count)}.{skipped}", "SUCCESS" if done.count else "WARNING")
        return True


def _said(count: int) -> str:
    return f"{count:,} dead letter{'' if count == 1 else 's'}"


def _line(row: Subscription | None, pk: int, count: int) -> tuple[Any, ...]:
    if row is None:
        return f"#{pk}", "", "gone: will be skipped", f"{count:,}"
    name = row.name if row.deleted_at else link(page_of("subscription", pk), row.name)
    return name, link(list_of("message", topic=row.topic_id), row.topic.name), mark(row.state), f"{count:,}"
