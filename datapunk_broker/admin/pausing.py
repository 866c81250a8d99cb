"""Pause and resume subscriptions, one by its button or many by an action."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path
from django.views.decorators.http import require_POST

from datapunk_broker import broker
from datapunk_broker.admin.linking import page_of
from datapunk_broker.admin.saving import VerbAdmin
from datapunk_broker.exceptions import SubscriptionNotFoundError
from datapunk_broker.models import Subscription

Verb = Callable[[str], Subscription]


class PausingAdmin(VerbAdmin[Subscription]):
    """A room of subscriptions that whoever may change them may hold back."""

    def get_urls(self) -> Any:
        own = [
            path(
                f"<path:object_id>/{word}/",
                self.admin_site.admin_view(require_POST(partial(self.turn, verb=verb, said=said))),
                name=f"datapunk_broker_subscription_{word}",
            )
            for word, verb, said in (("pause", broker.pause, "Paused"), ("resume", broker.resume, "Resumed"))
        ]
        return [*own, *super().get_urls()]

    def turn(self, request: HttpRequest, object_id: str, *, verb: Verb, said: str) -> HttpResponse:
        """Pause or resume the one whose page this is."""
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        self._turn(request, [row], verb, said)
        return HttpResponseRedirect(page_of("subscription", row.pk))

    @admin.action(permissions=["change"], description="Pause selected subscriptions")
    def pause_selected(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> None:
        self._turn(request, list(queryset), broker.pause, "Paused")

    @admin.action(permissions=["change"], description="Resume selected subscriptions")
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> None:
        self._turn(request, list(queryset), broker.resume, "Resumed")

    def get_actions(self, request: HttpRequest) -> Any:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def _turn(self, request: HttpRequest, rows: list[Subscription], verb: Verb, said: str) -> None:
        done = []
        for row in rows:
            try:
                verb(row.name)
            except SubscriptionNotFoundError as refusal:
                self.message_user(request, str(refusal), "ERROR")
            else:
                self.log_change(request, row, f"{said}.")
                done.append(row.name)
        if done:
            self.message_user(request, f"{said}: {', '.join(done)}.", "SUCCESS")
