"""Narrow a list by topic, subscription, state or time, without a script and without counting."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from datapunk_broker.admin.base import database
from datapunk_broker.models import Subscription, Topic
from datapunk_broker.states import SubscriptionState, Transport

YEARS = range(1971, 9999)
"""What is taken for a time."""

WITHIN: Mapping[str, tuple[str, timedelta]] = {
    "10m": ("Past 10 minutes", timedelta(minutes=10)),
    "1h": ("Past hour", timedelta(hours=1)),
    "1d": ("Past 24 hours", timedelta(days=1)),
    "7d": ("Past 7 days", timedelta(days=7)),
}

Choices = Iterator[Any]


class DropdownFilter(admin.SimpleListFilter):
    """A choice among many: a select instead of a link each."""

    template = "admin/datapunk_broker/dropdown_filter.html"

    def choices(self, changelist: ChangeList) -> Choices:
        self.kept = kept_params(changelist, self.parameter_name)
        yield {"selected": self.value() is None, "value": "", "display": "All"}
        for value, display in self.lookup_choices:
            yield {"selected": self.value() == str(value), "value": value, "display": display}

    def chosen(self) -> Any:
        """Return the chosen value as it was offered, None for none; ValueError for one that was not offered."""
        if not self.value():
            return None
        offered = {str(value): value for value, _ in self.lookup_choices}
        if self.value() not in offered:
            raise ValueError
        return offered[str(self.value())]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002 - Django's
        try:
            chosen = self.chosen()
        except ValueError:
            return queryset.none()
        return queryset if chosen is None else self.narrow(queryset, chosen)

    def narrow(self, queryset: QuerySet[Any], chosen: Any) -> QuerySet[Any]:
        """Return the rows of what was chosen."""
        return queryset.filter(**{f"{self.parameter_name}_id": chosen})


class TopicFilter(DropdownFilter):
    """By topic."""

    title = "topic"
    parameter_name = "topic"
    params = ("topic",)

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:  # noqa: ARG002 - Django's
        return list(Topic.objects.using(database()).live().order_by("name").values_list("pk", "name"))


class SubscriptionFilter(DropdownFilter):
    """By subscription, the deleted ones too."""

    title = "subscription"
    parameter_name = "subscription"
    params = ("subscription",)

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:  # noqa: ARG002 - Django's
        rows = Subscription.objects.using(database()).exclude(transport=Transport.STREAM).order_by("name", "pk")
        named = rows.values_list("pk", "name", "deleted_at")
        return [(pk, f"{name} (deleted)" if deleted_at else name) for pk, name, deleted_at in named]


class LiveChoicesFilter(admin.ChoicesFieldListFilter):
    """By a column's words, save those that rows of this list never have."""

    def choices(self, changelist: ChangeList) -> Choices:
        never = (SubscriptionState.DELETED.value, Transport.STREAM.value)
        return (choice for choice in super().choices(changelist) if choice["display"] not in never)


class MomentFilter(admin.ListFilter):
    """Since, until, or within the last while."""

    template = "admin/datapunk_broker/moment_filter.html"
    params = ("within", "since", "until")

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        for name in self.params:
            if name in params:
                self.used_parameters[name] = params.pop(name)[-1]
        asked = (str(self.used_parameters.get(name, "")) for name in self.params)
        self.within, self.since, self.until = asked

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return [*self.params]

    def choices(self, changelist: ChangeList) -> Choices:
        own = [*self.params]
        self.kept = kept_params(changelist, *own)
        is_any = not any(self.used_parameters.values())
        yield {"selected": is_any, "query_string": changelist.get_query_string(remove=own), "display": "Any time"}
        for word, (display, _) in WITHIN.items():
            query = changelist.get_query_string({"within": word}, remove=own)
            yield {"selected": self.within == word, "query_string": query, "display": display}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002 - Django's
        since, until = _moment(self.since), _moment(self.until)
        if (self.since and since is None) or (self.until and until is None):
            return queryset.none()
        if self.within in WITHIN:
            _, age = WITHIN[self.within]
            since = max(filter(None, (since, timezone.now() - age)))
        return self.narrow(queryset, since, until)

    def narrow(self, queryset: QuerySet[Any], since: datetime | None, until: datetime | None) -> QuerySet[Any]:
        """Return the rows of that time: ``since`` inclusive, ``until`` exclusive."""
        raise NotImplementedError


def kept_params(changelist: ChangeList, *own: str | None) -> list[tuple[str, str]]:
    """Return the query's other parameters, for a form that changes these."""
    return [(name, value) for name, value in changelist.params.items() if name not in own]


def _moment(text: str) -> datetime | None:
    try:
        moment = parse_datetime(text)
    except ValueError:
        return None
    if moment is None or moment.year not in YEARS:
        return None
    return timezone.make_aware(moment) if timezone.is_naive(moment) else moment
