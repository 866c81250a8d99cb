"""How an option is read: a reader takes its name and a value, and returns the value as the broker keeps it.

What cannot be read raises ConfigInvalidError with the option's name.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from datetime import timedelta
from difflib import get_close_matches
from enum import StrEnum
from reprlib import repr as short
from typing import Any

from datapunk_broker.exceptions import ConfigInvalidError, PayloadInvalidError
from datapunk_broker.payload import check_text

Reader = Callable[[str, Any], Any]

LARGEST = 2**31 - 1
"""The largest whole number that a database's integer column holds."""

CENTURY = timedelta(days=36_525)
"""The longest duration, so that no date it is added to leaves the calendar."""


def suggestion(word: object, known: Iterable[str]) -> str:
    """Return "Did you mean …?" for a word that is not known, or "" when nothing comes close."""
    by_folded = {name.casefold(): str(name) for name in known}
    close = get_close_matches(str(word).casefold(), by_folded, n=1)
    return f"Did you mean {by_folded[close[0]]!r}?" if close else ""


def known_only(given: object, known: Iterable[str], what: str) -> dict[str, Any]:
    """Return ``given`` as keyword arguments; raise ConfigInvalidError for what is no option of ``what``."""
    if not isinstance(given, Mapping):
        raise ConfigInvalidError(what, f"must be a dict of options, not {short(given)}")
    names = tuple(known)
    for name in given:
        if name not in names:
            problem = f"is no option of a {what}. {suggestion(name, names)}".rstrip()
            raise ConfigInvalidError(str(name), problem)
    return dict(given)


def normalise(config: Any, readers: Mapping[str, Reader], label: Callable[[str], str] = str) -> None:
    """Put every field of a frozen config through its reader; None stays where it is the field's default."""
    for field in fields(config):
        value = getattr(config, field.name)
        if value is not None or field.default is not None:
            object.__setattr__(config, field.name, readers[field.name](label(field.name), value))


def member(words: type[StrEnum]) -> Reader:
    """Read one word of a closed vocabulary."""

    def read(field: str, value: Any) -> StrEnum:
        try:
            return words(value)
        except ValueError:
            problem = f"must be one of {', '.join(words)}, not {short(value)}. {suggestion(value, words)}"
            raise ConfigInvalidError(field, problem.rstrip()) from None

    return read


def whole(least: int, most: int = LARGEST) -> Reader:
    """Read a whole number in a range."""

    def read(field: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ConfigInvalidError(field, f"must be a whole number from {least} to {most}, not {short(value)}")
        return value

    return read


def number(least: float, most: float, unit: str = "", *, above: bool = False) -> Reader:
    """Read a number in a range, as a float; ``above`` leaves the least itself out."""
    bounds = f"above {least:g} and up to {most:g}" if above else f"from {least:g} to {most:g}"

    def read(field: str, value: Any) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not least <= value <= most or (above and value == least):
            raise ConfigInvalidError(field, f"must be {unit or 'a number'} {bounds}, not {short(value)}")
        return float(value)

    return read


def seconds(*, above: bool = False) -> Reader:
    """Read a duration: seconds, or a timedelta; ``above`` refuses 0."""
    inner = number(0, CENTURY.total_seconds(), "seconds", above=above)
    return lambda field, value: inner(field, value.total_seconds() if isinstance(value, timedelta) else value)


def flag(field: str, value: Any) -> bool:
    """Read True or False."""
    if not isinstance(value, bool):
        raise ConfigInvalidError(field, f"must be True or False, not {short(value)}")
    return value


def text(longest: int) -> Reader:
    """Read text of at most so many bytes; an error does not show it, for it may be a secret."""

    def read(field: str, value: Any) -> str:
        try:
            check_text(field, value, longest)
        except PayloadInvalidError:
            problem = f"must be text of at most {longest} bytes, without NUL or lone surrogates"
            raise ConfigInvalidError(field, problem) from None
        return str(value)

    return read
