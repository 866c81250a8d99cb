"""Give out a list page by page: a cursor says where a page begins, and stays right while rows come and go."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated, Any, TypeVar

import msgspec
from django.db.models import Model, Q, QuerySet
from django.db.models.expressions import Combinable
from msgspec import UNSET, Meta, UnsetType
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from datapunk_broker.api.moments import made
from datapunk_broker.exceptions import PayloadInvalidError

M = TypeVar("M", bound=Model)

LARGEST_PAGE = 200
"""Rows."""

HEAVIEST_PAGE = 16 * 1024 * 1024
"""Bytes of bodies, stored or shown; one row is a page whatever it weighs."""


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
        first = next(iter(self.columns))
        within = Q(**{f"{first}__{comparison}e": values[0]})  # what an index can begin at
        beyond, same = Q(), Q()
        for column, value in zip(self.columns, values, strict=True):
            beyond |= same & Q(**{f"{column}__{comparison}": value})
            same &= Q(**{column: value})
        return within & beyond


@dataclass(frozen=True, slots=True)
class Weight:
    """What rows with bodies weigh, in bytes: each as it is stored, for the database to say, and as it is shown."""

    stored: Combinable
    shown: Callable[[Any], int]


Found = list[tuple[Sequence[Any], Any]]
"""Rows, each with its values in the order: as it is shown, or None if it went while it was looked at."""


def page(
    request: Request,
    rows: QuerySet[M],
    order: Order,
    paged: Paged,
    show: Callable[[M], Any],
    *,
    weight: Weight | None = None,
) -> dict[str, Any]:
    """Return a page of these rows, each as ``show`` makes it; one statement.

    weight: of rows with bodies, which are chosen without these and loaded by a second statement; the page is cut where
    it would weigh more than ``HEAVIEST_PAGE``.
    """
    backwards, after = _read(paged.cursor, order)
    if after:
        rows = rows.filter(order.beyond(after, backwards=backwards))
    rows = rows.order_by(*order.by(backwards=backwards))
    if weight is None:
        found: Found = [(_values(row, order), show(row)) for row in rows[: paged.page_size + 1]]
        more, found = len(found) > paged.page_size, found[: paged.page_size]
    else:
        more, found = _weighed(rows, order, paged.page_size, show, weight)
    if backwards:
        found.reverse()
    ahead, behind = (True, more) if backwards else (more, bool(after))
    # From an empty page, the list's own end leads back: the row that the cursor names may be there still.
    first, last = (found[0][0], found[-1][0]) if found else ([], [])
    return {
        "results": [shown for _, shown in found if shown is not None],
        "next": _address(request, last, backwards=False) if ahead else None,
        "previous": _address(request, first, backwards=True) if behind else None,
    }


def _weighed(
    rows: QuerySet[M], order: Order, size: int, show: Callable[[M], Any], weight: Weight
) -> tuple[bool, Found]:
    """Return the rows that make a page together, and whether there are more."""
    keys = list(rows.values_list("pk", weight.stored, *order.columns)[: size + 1])
    fitting = sum(total <= HEAVIEST_PAGE for total in accumulate(stored for _, stored, *_ in keys))
    chosen = keys[: min(max(1, fitting), size)]
    loaded = rows.in_bulk([pk for pk, *_ in chosen])
    found: Found = []
    total = 0
    for pk, _, *values in chosen:
        shown = show(loaded[pk]) if pk in loaded else None
        total += 0 if shown is None else weight.shown(shown)
        if found and total > HEAVIEST_PAGE:
            break
        found.append((values, shown))
    return len(found) < len(keys), found


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
