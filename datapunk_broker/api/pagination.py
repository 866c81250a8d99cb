"""Give out a list page by page: a cursor says where a page begins, and stays right while rows come and go."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
from django.db.models import Model, Q, QuerySet
from msgspec import UNSET, Meta, UnsetType
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from datapunk_broker.api.moments import made
from datapunk_broker.exceptions import PayloadInvalidError

M = TypeVar("M", bound=Model)

LARGEST_PAGE = 200
"""A row may carry a payload of a megabyte."""


class Paged(msgspec.Struct, kw_only=True):
    """The parameters of a list."""

    cursor: Annotated[str, Meta(max_length=2000, description="From next or previous.")] | UnsetType = UNSET
    page_size: Annotated[int, Meta(ge=1, le=LARGEST_PAGE)] = 50


class Page(msgspec.Struct, kw_only=True):
    """A page of a list, and the addresses of the pages beside it."""

    next: str | None = None
    previous: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """The columns that a list is in order of, with the types of their values; together they are unique."""

    columns: dict[str, Any]
    descending: bool = False

    def by(self, *, backwards: bool) -> list[str]:
        sign = "-" if self.descending is not backwards else ""
        return [f"{sign}{column}" for column in self.columns]

    def beyond(self, values: Sequence[Any], *, backwards: bool) -> Q:
        """Return the condition for what comes after a row with these values."""
        comparison = "lt" if self.descending is not backwards else "gt"
        beyond, same = Q(), Q()
        for column, value in zip(self.columns, values, strict=True):
            beyond |= same & Q(**{f"{column}__{comparison}": value})
            same &= Q(**{column: value})
        return beyond


def page(request: Request, rows: QuerySet[M], order: Order, paged: Paged, show: Callable[[M], Any]) -> dict[str, Any]:
    """Return a page of these rows, each as ``show`` makes it; one statement."""
    backwards, after = _read(paged.cursor, order)
    if after:
        rows = rows.filter(order.beyond(after, backwards=backwards))
    found = list(rows.order_by(*order.by(backwards=backwards))[: paged.page_size + 1])
    more, found = len(found) > paged.page_size, found[: paged.page_size]
    if backwards:
        found.reverse()
    ahead, behind = (True, more) if backwards else (more, bool(after))
    # From an empty page, the list's own end leads back: the row that the cursor names may be there still.
    first, last = (_values(found[0], order), _values(found[-1], order)) if found else ([], [])
    return {
        "results": [show(row) for row in found],
        "next": _address(request, last, backwards=False) if ahead else None,
        "previous": _address(request, first, backwards=True) if behind else None,
    }


def _values(row: Model, order: Order) -> list[Any]:
    return [getattr(row, column) for column in order.columns]


def _address(request: Request, values: Sequence[Any], *, backwards: bool) -> str:
    cursor = urlsafe_b64encode(msgspec.json.encode([backwards, values])).decode().rstrip("=")
    return str(replace_query_param(request.build_absolute_uri(), "cursor", cursor))


def _read(cursor: str | UnsetType, order: Order) -> tuple[bool, Sequence[Any]]:
    if cursor is UNSET:
        return False, ()
    kinds: Any = tuple[tuple(order.columns.values())]  # type: ignore[misc]
    try:
        text = urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4))
        backwards, values = msgspec.json.decode(text, type=tuple[bool, list[Any]])
        return backwards, values and msgspec.convert(values, kinds, dec_hook=made)
    except (ValueError, RecursionError):
        raise PayloadInvalidError("cursor", "is none that this list gave out") from None
