"""Say which dead letters somebody means."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from reprlib import repr as short
from typing import Any, TypeVar

from django.db.models import QuerySet

from datapunk_broker.conf import is_name
from datapunk_broker.conf.options import known_only, member
from datapunk_broker.engine.moments import in_utc
from datapunk_broker.exceptions import ConfigInvalidError
from datapunk_broker.models import DeadLetter
from datapunk_broker.states import FailureReason

T = TypeVar("T")

Chosen = QuerySet[DeadLetter] | Mapping[str, Any]
"""Dead letters: exactly those of a queryset, or the open ones that a filter describes."""

BATCH = 500
"""Dead letters a page."""


@dataclass(frozen=True, slots=True)
class Letters:
    """The dead letters that somebody means: those found, and of them only these where ids were named or counted."""

    found: QuerySet[DeadLetter]
    ids: Sequence[int] | None = None

    def count(self) -> int:
        """Return how many there are now; of those that were named, how many were."""
        return self.found.count() if self.ids is None else len(self.ids)

    def kinds(self) -> Iterator[tuple[str, str]]:
        """Yield the topics of the open ones, each with the content types that are met there."""
        open_ones = self.found.filter(redriven_at=None, topic__deleted_at=None).order_by()
        kinds: QuerySet[Any, Any] = open_ones.values_list("topic__name", "message__content_type").distinct()
        if self.ids is None:
            yield from kinds
            return
        for some in batches(self.ids, BATCH):
            yield from kinds.filter(pk__in=some)

    def pages(self) -> Iterator[list[int]]:
        """Yield their ids, ascending, a batch at a time; none that is made after the first page joins."""
        ids = self.found.order_by("pk").values_list("pk", flat=True)
        if self.ids is not None:
            yield from filter(None, (list(ids.filter(pk__in=some)) for some in batches(self.ids, BATCH)))
            return
        page = list(ids[:BATCH])
        newest = ids.last() if len(page) == BATCH else None
        while page:
            yield page
            page = list(ids.filter(pk__gt=page[-1], pk__lte=newest)[:BATCH]) if newest else []


def chosen(dead_letters: Chosen, *, using: str) -> Letters:
    """Return the dead letters meant; of a queryset that says how many, they are those of now.

    A filter has any of ``subscription`` and ``topic`` (names), ``reason``, ``since`` (inclusive) and
    ``until`` (exclusive; of when they died, with a time zone), ``ids``; all must hold; {} means every one.
    Raises ConfigInvalidError for a key or value that it does not know.
    """
    if isinstance(dead_letters, QuerySet):
        given = dead_letters.using(using)
        if not given.query.is_sliced and not given.query.combinator:
            return Letters(given)
        everyone = DeadLetter.objects.using(using)
        return Letters(everyone, sorted(set(given.values_list("pk", flat=True))))
    wanted = {key: READERS[key](key, value) for key, value in _known(dead_letters).items()}
    ids = wanted.pop("ids", None)
    return Letters(DeadLetter.objects.using(using).open().filter(**_lookups(wanted)), ids)


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of ``size`` at most."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def _known(given: object) -> dict[str, Any]:
    return known_only(given, READERS, "filter of dead letters")


def _lookups(wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {LOOKUPS[key]: value for key, value in wanted.items()}


def _name(field: str, value: Any) -> list[str]:
    if not isinstance(value, str):
        raise ConfigInvalidError(field, f"must be a name, not {short(value)}")
    return [value] if is_name(value) else []


def _moment(field: str, value: Any) -> datetime:
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise ConfigInvalidError(field, f"must be a datetime with a time zone, not {short(value)}")
    return in_utc(value)


def _ids(field: str, value: Any) -> Sequence[int]:
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        raise ConfigInvalidError(field, f"must be a list of ids, not {short(value)}")
    ids = list(value)
    if not all(type(pk) is int for pk in ids):
        raise ConfigInvalidError(field, f"must be whole numbers, not {short(value)}")
    return sorted({pk for pk in ids if 0 < pk < 2**63})


LOOKUPS = {
    "subscription": "subscription__name__in",
    "topic": "topic__name__in",
    "reason": "reason",
    "since": "dead_at__gte",
    "until": "dead_at__lt",
}

READERS: Mapping[str, Callable[[str, Any], Any]] = {
    "subscription": _name,
    "topic": _name,
    "reason": member(FailureReason),
    "since": _moment,
    "until": _moment,
    "ids": _ids,
}
