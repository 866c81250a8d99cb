"""Bindings, edited with their subscription; they are written by its verb, all at once."""

from typing import Any

from django import forms
from django.http import HttpRequest

from datapunk_broker.admin.base import database
from datapunk_broker.admin.fields import JSONTextField
from datapunk_broker.admin.generic import BaseInlineFormSet, ModelForm, TabularInline
from datapunk_broker.conf import BindingConfig
from datapunk_broker.exceptions import BindingInvalidError
from datapunk_broker.matching import check_binding
from datapunk_broker.models import Binding, Subscription, Topic
from datapunk_broker.states import TopicType

KEY, HEADERS = "routing_key", "headers"


class BindingForm(ModelForm[Binding]):
    """One binding; ``by`` tells the empty routing key, which is a key, from a line that is left empty."""

    by = forms.ChoiceField(
        choices=[("", "—"), (KEY, "routing key"), (HEADERS, "headers")],
        required=False,
        help_text="Say “routing key” for the empty key.",
    )
    routing_key = forms.CharField(strip=False, required=False, max_length=255, empty_value="")
    headers = JSONTextField(
        required=False,
        widget=forms.Textarea(
            attrs={"rows": 2, "spellcheck": "false", "class": "broker-code", "placeholder": '{"x-match": "any", …}'}
        ),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            self.initial["by"] = KEY if self.instance.headers is None else HEADERS

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        by = cleaned["by"] or (KEY if cleaned[HEADERS] is None else HEADERS)
        if by == KEY and cleaned[HEADERS] is not None:
            self.add_error(HEADERS, "A binding by routing key has no headers.")
        if by == HEADERS and cleaned[KEY]:
            self.add_error(KEY, "A binding by headers has no routing key.")
        if by == HEADERS and not self.errors and not isinstance(cleaned[HEADERS], dict):
            self.add_error(HEADERS, 'Give an object, such as {"x-match": "any", "tier": "gold"}.')
        return {**cleaned, **{name: cleaned.get(name) if name == by else None for name in (KEY, HEADERS)}}

    def config(self) -> BindingConfig:
        """Return the binding as the verbs take it."""
        return BindingConfig(self.cleaned_data[KEY], self.cleaned_data[HEADERS])


class BindingFormSet(BaseInlineFormSet[Binding, Subscription, ModelForm[Binding]]):
    """A subscription's bindings."""

    def clean(self) -> None:
        """Say beside a binding why its topic cannot match by it."""
        super().clean()
        topic = Topic.objects.using(database()).filter(pk=self.instance.topic_id).first()
        for form in self.kept() if topic else ():
            binding = form.config()
            try:
                check_binding(TopicType(topic.type), binding.routing_key, binding.headers)  # type: ignore[union-attr]
            except BindingInvalidError as error:
                form.add_error(KEY if binding.headers is None else HEADERS, error.problem)

    def kept(self) -> list[BindingForm]:
        """Return the forms of the bindings that there shall be."""
        gone = self.deleted_forms
        kept = [form for form in self.forms if form not in gone and (form.instance.pk or form.has_changed())]
        return [form for form in kept if isinstance(form, BindingForm) and form.is_valid()]

    def configs(self) -> list[BindingConfig]:
        """Return the bindings that there shall be."""
        return [form.config() for form in self.kept()]


class BindingInline(TabularInline[Binding, Subscription]):
    """A subscription's bindings: who may change it may change them."""

    model = Binding
    form = BindingForm
    formset = BindingFormSet
    fields = ("by", "routing_key", "headers")
    extra = 0
    verbose_name_plural = "Bindings"

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).using(database())

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - Django's
        return _may(request, "view") or _may(request, "change")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _may(request, "add" if obj is None else "change")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _may(request, "add" if obj is None else "change")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _may(request, "add" if obj is None else "change")


def _may(request: HttpRequest, word: str) -> bool:
    return request.user.has_perm(f"datapunk_broker.{word}_subscription")
