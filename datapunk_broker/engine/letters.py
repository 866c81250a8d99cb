"""Say which dead letters somebody means."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from reprlib import repr as short
from typing import Any, TypeVar

from django.db.models import QuerySet

from datapunk_broker.conf.options import known_only, member
from datapunk_broker.exceptions import ConfigInvalidError
from datapunk_broker.models import DeadLetter
from datapunk_broker.states import FailureReason

T = TypeVar("T")

Chosen = QuerySet[DeadLetter] | Mapping[str, Any]
"""Dead letters: exactly those of a queryset, or the open ones that a filter describes."""

BATCH = 500


def chosen(dead_letters: Chosen, *, using: str) -> list[int]:
    """Return the ids of the dead letters meant, ascending, as they are now: later ones do not join.

    A filter has any of ``subscription`` and ``topic`` (names), ``reason``, ``since`` (inclusive) and
    ``until`` (exclusive; of when they died, with a time zone), ``ids``; all must hold; {} means every one.
    Raises ConfigInvalidError for a key or value that it does not know.
    """
    if isinstance(dead_letters, QuerySet):
        return sorted(set(dead_letters.using(using).values_list("pk", flat=True)))
    wanted = {key: READERS[key](key, value) for key, value in _known(dead_letters).items()}
    found = DeadLetter.objects.using(using).open()
    if (ids := wanted.pop("ids", None)) is not None:
        some = (found.filter(**_lookups(wanted), pk__in=batch) for batch in batches(ids))
        return [pk for batch in some for pk in batch.order_by("pk").values_list("pk", flat=True)]
    return list(found.filter(**_lookups(wanted)).order_by("pk").values_list("pk", flat=True))


def batches(items: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    """Yield the items in lists of ``size`` at most."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def _known(given: object) -> dict[str, Any]:
    return known_only(given, READERS, "filter of dead letters")


def _lookups(wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {LOOKUPS[key]: value for key, value in wanted.items()}


def _name(field: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigInvalidError(field, f"must be a name, not {short(value)}")
    return value


def _moment(field: str, value: Any) -> datetime:
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise ConfigInvalidError(field, f"must be a datetime with a time zone, not {short(value)}")
    return value


def _ids(field: str, value: Any) -> Sequence[int]:
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        raise ConfigInvalidError(field, f"must be a list of ids, not {short(value)}")
    ids = list(value)
    if not all(type(pk) is int for pk in ids):
        raise ConfigInvalidError(field, f"must be whole numbers, not {short(value)}")
    return sorted({pk for pk in ids if 0 < pk < 2**63})


LOOKUPS = {
    "subscription": "subscription__name",
    "topic": "topic__name",
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
