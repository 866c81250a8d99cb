"""Grants: which user or group may do what with which topics."""

import re
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest

from datapunk_broker.admin.base import BrokerAdmin
from datapunk_broker.admin.generic import ModelForm
from datapunk_broker.models import TopicGrant
from datapunk_broker.rights import Action

PATTERN = re.compile(r"(?:\*|#|[A-Za-z0-9_-]*)(?:\.(?:\*|#|[A-Za-z0-9_-]*))*", re.ASCII)
"""A topic's name, with words that may be wildcards."""


class GrantForm(ModelForm[TopicGrant]):
    """One holder, one name or pattern, at least one right."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if "user" in cleaned and "group" in cleaned and bool(cleaned["user"]) == bool(cleaned["group"]):
            self.add_error("user", "Give a user or a group, and not both.")
        if not any(cleaned.get(action.value) for action in Action):
            self.add_error(None, "Give at least one right.")
        return cleaned

    def clean_topic(self) -> str:
        """Refuse what no topic's name can match."""
        pattern = str(self.cleaned_data["topic"])
        if not PATTERN.fullmatch(pattern):
            problem = "This is neither a topic's name nor a pattern such as orders.* or #."
            raise forms.ValidationError(problem)
        return pattern

    def _get_validation_exclusions(self) -> set[str]:
        """Leave the holder to ``clean``, whose sentence says more than the constraint's name."""
        return {*super()._get_validation_exclusions(), "user", "group"}  # type: ignore[misc]


class TopicGrantAdmin(BrokerAdmin[TopicGrant]):
    """The grants."""

    form = GrantForm
    list_display = ("holder", "topic", "publish", "subscribe", "manage")
    list_display_links = ("holder", "topic")
    list_filter = ("publish", "subscribe", "manage")
    search_fields = ("topic",)
    search_help_text = "A topic's name, or a part of it."
    ordering = ("topic", "pk")
    fieldsets = (
        ("Who", {"fields": ("user", "group")}),
        (
            "Which topics",
            {
                "fields": ("topic",),
                "description": "A name, or a pattern: * stands for one word between dots, # for any number of them.",
            },
        ),
        (
            "What",
            {
                "fields": ("publish", "subscribe", "manage"),
                "description": "Subscribing is reading, too. Managing is to change, pause, redrive and discard.",
            },
        ),
    )

    def database(self) -> None:
        """Leave it to the routers: grants are where the users are."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[TopicGrant]:
        return super().get_queryset(request).select_related("user", "group")

    @admin.display(description="who")
    def holder(self, grant: TopicGrant) -> str:
        return str(grant.user) if grant.user_id else f"{grant.group} (group)"

    def get_autocomplete_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """Search where the admin of users and groups can be searched by whoever asks."""
        models = {"user": get_user_model(), "group": Group}
        return tuple(name for name, model in models.items() if self._can_search(request, model))

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name not in self.get_autocomplete_fields(request):
            kwargs["widget"] = forms.NumberInput()  # there may be more users than fit a list
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def _can_search(self, request: HttpRequest, model: Any) -> bool:
        if not self.admin_site.is_registered(model):
            return False
        room = self.admin_site.get_model_admin(model)
        return bool(room.get_search_fields(request)) and room.has_view_permission(request)
