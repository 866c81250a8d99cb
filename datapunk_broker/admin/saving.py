"""Save through the broker's verbs, and say what they refuse on the form, beside the field it is about."""

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from django import forms
from django.db import models, transaction
from django.http import HttpRequest
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters

from datapunk_broker.admin.base import BrokerAdmin, database
from datapunk_broker.admin.fields import JSONTextField
from datapunk_broker.admin.generic import ModelForm
from datapunk_broker.exceptions import BrokerError

M = TypeVar("M", bound=models.Model)

FIELD_OF_CODE: Mapping[str, str] = {
    "delivery_mode_invalid": "delivery_mode",
    "endpoint_refused": "endpoint_url",
    "permission_denied": "dead_letter_topic",
    "too_many_subscribers": "topic",
    "topic_not_found": "topic",
}
"""Which field an error is about when it does not name one itself."""


class VerbForm(ModelForm[M]):
    """A form that shows what a verb refused.

    refusal: set for the one request whose verb was refused; it keeps the form from being saved again.
    names: the fields that are called otherwise here than in the verb's options.
    """

    refusal: ClassVar[BrokerError | None] = None
    names: ClassVar[Mapping[str, str]] = {}

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if self.refusal is not None:
            self._show(self.refusal)
        return cleaned

    def _show(self, refusal: BrokerError) -> None:
        option = getattr(refusal, "field", "") or FIELD_OF_CODE.get(refusal.code, "")
        head = option.partition(".")[0].partition("[")[0]
        field = self.names.get(head, head)
        problem = getattr(refusal, "problem", "") if field in self.fields else ""
        said = problem or str(refusal)
        self.add_error(field if field in self.fields else None, said[:1].upper() + said[1:])


class VerbAdmin(BrokerAdmin[M]):
    """A room whose rows are kept by the broker: ``keep`` calls the verb instead of saving the row."""

    formfield_overrides = {models.JSONField: {"form_class": JSONTextField}}

    def keep(self, form: Any, formsets: Any, *, change: bool) -> models.Model:
        """Create or update by the verb, and return the row; a BrokerError becomes an error of the form."""
        raise NotImplementedError

    @method_decorator(sensitive_post_parameters("new_secret"))
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        if request.method != "POST":
            return super().changeform_view(request, object_id, form_url, extra_context)
        try:
            with transaction.atomic(using=database()):
                return super().changeform_view(request, object_id, form_url, extra_context)
        except BrokerError as refusal:
            # What the verb did is undone; the same request again, with the refusal, is a form with an error.
            vars(request)["refusal"] = refusal
            return super().changeform_view(request, object_id, form_url, extra_context)

    def get_form(self, request: HttpRequest, obj: M | None = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002
        form: Any = super().get_form(request, obj, change, **kwargs)
        form.refusal = vars(request).get("refusal")  # the class is made for this request alone
        return form

    def save_model(self, request: HttpRequest, obj: M, form: Any, change: Any) -> None:
        """Leave it to ``save_related``, where the bindings are known as well."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: Any) -> None:  # noqa: ARG002
        for formset in formsets:
            formset.save(commit=False)  # says what changed, for the history
        form.instance.pk = self.keep(form, formsets, change=bool(change)).pk


def given(form: forms.Form, *, change: bool) -> dict[str, Any]:
    """Return the options to hand to a verb: all of a new row, what was edited of an old one."""
    names = form.changed_data if change else list(form.cleaned_data)
    return {name: form.cleaned_data[name] for name in names if name in form.cleaned_data}
