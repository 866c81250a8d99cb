"""Ask before something is done that cannot be undone: what, to how many, and what else to say."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from django import forms
from django.contrib.admin import helpers
from django.http import HttpRequest
from django.template.response import TemplateResponse

from datapunk_broker.admin.base import BrokerAdmin

TEMPLATE = "admin/datapunk_broker/confirmation.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked.

    sentence: the question. columns, rows: a table of what it is about. submit: the word on the button.
    note: what else to know. form: what else to decide.
    """

    title: str
    sentence: str
    submit: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    note: str = ""
    form: forms.Form | None = None
    dangerous: bool = True

    @property
    def context(self) -> dict[str, Any]:
        """What the template is given."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def ask(admin: BrokerAdmin[Any], request: HttpRequest, question: Question, **hidden: Any) -> TemplateResponse:
    """Show the question of an action; ``hidden`` comes back with the answer, as does what was selected."""
    chosen = request.POST.getlist(helpers.ACTION_CHECKBOX_NAME)
    kept = [("action", request.POST["action"]), ("select_across", request.POST.get("select_across", "0"))]
    kept += [(helpers.ACTION_CHECKBOX_NAME, pk) for pk in chosen]
    context = {
        **admin.admin_site.each_context(request),
        **question.context,
        "opts": admin.opts,
        "media": admin.media,
        "hidden": [*kept, *hidden.items()],
        "cancel_url": request.get_full_path(),
    }
    request.current_app = admin.admin_site.name
    return TemplateResponse(request, TEMPLATE, context)


def is_confirmed(request: HttpRequest) -> bool:
    """Whether the question was answered with yes."""
    return request.POST.get("post") == "yes"
