"""Know where a moment lies among the ids of messages, which begin with the time they were made at."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

SKEW = timedelta(hours=1)
"""How far a publisher's clock, which makes the ids, may be from the database's, which dates the messages."""


def first_id_at(moment: datetime, *, earlier: timedelta = timedelta(0)) -> UUID:
    """Return an id that is larger than all made before the moment, and smaller than all made since.

    ``earlier`` moves the moment back.
    """
    milliseconds = (moment.timestamp() - earlier.total_seconds()) * 1000
    return UUID(int=max(0, int(milliseconds)) << 80 | 0x7 << 76 | 0b10 << 62)


def moment_of(message: UUID) -> datetime:
    """Return when an id was made, to the millisecond."""
    return datetime.fromtimestamp((message.int >> 80) / 1000, UTC)
