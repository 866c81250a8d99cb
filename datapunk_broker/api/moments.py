"""Read a moment as RFC 3339 writes it: with a date, a time and an offset, and nothing else."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Self

RFC_3339 = re.compile(
    r"(\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01]))[Tt]"
    r"((?:[01]\d|2[0-3]):[0-5]\d):([0-5]\d|60)(?:\.(\d+))?"
    r"([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)

LOST_PLUS = re.compile(r" (?=\d\d:\d\d$)", re.ASCII)
"""A query string makes a blank of the plus sign that nobody escaped."""


class Moment(datetime):
    """A moment in UTC that came from outside: msgspec alone would take other notations, and any offset."""

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the moment; a leap second is the second after it. Raises ValueError."""
        found = RFC_3339.fullmatch(text)
        if found is None:
            raise ValueError("is no moment as RFC 3339 has it, such as 2026-01-31T12:00:00Z")
        date, hour_and_minute, second, fraction, offset = found.groups()
        micro = (fraction or "0")[:6].ljust(6, "0")
        leap = timedelta(seconds=1) if second == "60" else timedelta(0)
        written = f"{date}T{hour_and_minute}:{'59' if leap else second}.{micro}{offset.upper()}"
        try:
            return cls.fromisoformat(written).astimezone(UTC) + leap
        except (ValueError, OverflowError):
            raise ValueError(f"is {text!r}, outside the calendar") from None


def made(kind: type, given: Any) -> Any:
    """Make what msgspec does not know: its ``dec_hook``."""
    if kind is not Moment or not isinstance(given, str):
        raise TypeError(f"Expected `{kind.__name__}`, got `{type(given).__name__}`")
    return Moment.read(given)


def made_of_query(kind: type, given: Any) -> Any:
    """Make it out of a query string."""
    return made(kind, LOST_PLUS.sub("+", given) if isinstance(given, str) else given)


def described(kind: type) -> dict[str, Any]:
    """Describe what msgspec does not know: its ``schema_hook``."""
    if kind is not Moment:
        raise NotImplementedError
    return {"type": "string", "format": "date-time"}
