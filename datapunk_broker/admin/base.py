"""What the broker's rooms in the admin share: its database, bounded counts, and nothing to probe columns by."""

from collections.abc import Sequence
from typing import Any, TypeVar

from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.views.main import ERROR_FLAG, ORDER_VAR, ChangeList
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model, OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponseRedirect

from datapunk_broker.admin.counting import BoundedPaginator
from datapunk_broker.admin.generic import ModelAdmin
from datapunk_broker.conf import get_config
from datapunk_broker.models import Subscription, Topic

M = TypeVar("M", bound=Model)


def database() -> str:
    """Return the alias of the broker's database."""
    return get_config().database


def with_names(queryset: QuerySet[M], *, subscription: bool = False) -> QuerySet[M]:
    """Give rows their topic's name, and their subscription's: a reference to what was purged reads None."""
    names: dict[str, Subquery] = {"topic_name": _name(Topic, "topic_id")}
    if subscription:
        names["subscription_name"] = _name(Subscription, "subscription_id")
    named: QuerySet[M] = queryset.annotate(**names)
    return named


def _name(model: type[Model], reference: str) -> Subquery:
    return Subquery(model._default_manager.order_by().filter(pk=OuterRef(reference)).values("name"))


class PageOfRows(ChangeList):
    """A page whose rows are read at once, so that what is counted for them takes a statement a page.

    reach: how many rows the list is chosen among, where it is not among all.
    """

    result_list: Any
    reach: int | None = None

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """Keep the room's order: any other that an address asks for has no index."""
        self.params.pop(ORDER_VAR, None)
        return [*super().get_ordering(request, queryset)]

    def get_results(self, request: HttpRequest) -> None:
        """Read the page, and count for its rows."""
        self.queryset, self.reach = self.model_admin.within_reach(request, self.queryset)  # type: ignore[attr-defined]
        super().get_results(request)
        self.result_list = list(self.result_list)
        self.model_admin.count_for(self.result_list)  # type: ignore[attr-defined]


class BrokerAdmin(ModelAdmin[M]):
    """A room of the admin: Django's model permissions say who may enter."""

    list_per_page = 50
    list_select_related = False
    paginator = BoundedPaginator
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    sortable_by = ()

    class Media:
        css = {"all": ("datapunk_broker/admin.css",)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[M]:
        return super().get_queryset(request).using(self.database())

    def database(self) -> str | None:
        """Return the alias of the database that the rows are in; None leaves it to the routers."""
        return database()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002 - Django's
        return PageOfRows

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        if any("\0" in text for texts in request.GET.lists() for text in (texts[0], *texts[1])):
            return HttpResponseRedirect(f"{request.path}?{ERROR_FLAG}=1")  # PostgreSQL knows no such text
        return super().changelist_view(request, extra_context)

    def within_reach(self, request: HttpRequest, rows: QuerySet[M]) -> tuple[QuerySet[M], int | None]:  # noqa: ARG002
        """Return what a page shows of these rows, and among how many of the latest where no index finds them all."""
        return rows, None

    def count_for(self, rows: Sequence[M]) -> None:
        """Put counts on the rows of a page; for rooms that show some."""

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:  # noqa: ARG002
        """Allow what the room filters by: any other lookup could guess a column, a secret among them."""
        filters: Sequence[Any] = self.list_filter
        columns = [one if isinstance(one, str) else one[0] for one in filters if isinstance(one, str | tuple)]
        params = [name for one in filters for name in getattr(one, "params", ())]
        return lookup in params or lookup.split("__", maxsplit=1)[0] in columns

    def may(self, request: HttpRequest, *words: str) -> bool:
        """Whether whoever asks has one of these permissions ("view", "change", …) for the model."""
        label, name = self.opts.app_label, self.opts.model_name
        return any(request.user.has_perm(f"{label}.{word}_{name}") for word in words)

    def log_many(self, request: HttpRequest, what: str, message: str) -> None:
        """Leave one line in the history for something done to many rows."""
        LogEntry.objects.create(
            user_id=request.user.pk or 0,
            content_type=ContentType.objects.get_for_model(self.model),
            object_repr=what[:200],
            action_flag=CHANGE,
            change_message=message,
        )


class ReadOnlyAdmin(BrokerAdmin[M]):
    """A room where rows are looked at."""

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 - Django's
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:  # noqa: ARG002
        return False

    def has_view_permission(self, request: HttpRequest, obj: M | None = None) -> bool:  # noqa: ARG002
        return self.may(request, "view", "change")
