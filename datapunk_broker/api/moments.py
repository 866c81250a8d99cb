"""Read a moment as RFC 3339 writes it: with a date, a time and an offset, and nothing else."""

import re
from datetime import UTC, datetime, timedelta

from datapunk_broker.exceptions import PayloadInvalidError

RFC_3339 = re.compile(
    r"(\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01]))[Tt]"
    r"((?:[01]\d|2[0-3]):[0-5]\d):([0-5]\d|60)(?:\.(\d+))?"
    r"([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)

LOST_PLUS = re.compile(r" (?=\d\d:\d\d$)", re.ASCII)
"""A query string makes a blank of the plus sign that nobody escaped."""


def moment(field: str, text: str) -> datetime:
    """Return the moment in UTC; a leap second is the second after it. Raises PayloadInvalidError."""
    found = RFC_3339.fullmatch(text)
    if found is None:
        raise PayloadInvalidError(field, "is no moment as RFC 3339 has it, such as 2026-01-31T12:00:00Z")
    date, hour_and_minute, second, fraction, offset = found.groups()
    micro = (fraction or "0")[:6].ljust(6, "0")
    leap = timedelta(seconds=1) if second == "60" else timedelta(0)
    written = f"{date}T{hour_and_minute}:{'59' if leap else second}.{micro}{offset.upper()}"
    try:
        return datetime.fromisoformat(written).astimezone(UTC) + leap
    except (ValueError, OverflowError):
        raise PayloadInvalidError(field, f"is {text!r}, outside the calendar") from None


def asked_moment(field: str, text: str) -> datetime:
    """Return a moment from a query string."""
    return moment(field, LOST_PLUS.sub("+", text))
