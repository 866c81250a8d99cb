"""Moments that every database can compare with."""

from datetime import UTC, datetime

FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def in_utc(moment: datetime) -> datetime:
    """Return a moment in UTC; one that UTC's calendar is too short for becomes its first or its last."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return FIRST if moment.year == FIRST.year else LAST
