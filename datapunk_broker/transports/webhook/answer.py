"""Read what an endpoint answered: 2xx is success, all else a failure, and some say when to come again."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from datapunk_broker.exceptions import EndpointFailedError

SUCCESS = range(200, 300)

SLOW_DOWN = {429, 502, 503, 504}
"""Answers whose Retry-After counts."""

LONGEST_SAID = 500
"""Bytes of an answer that its error repeats."""

SECONDS = re.compile(rb"[0-9]{1,9}")


def failure(
    status: int, headers: Iterable[tuple[bytes, bytes]], said: bytes, now: datetime
) -> EndpointFailedError | None:
    """Return what the answer amounts to as an error; None for success."""
    if status in SUCCESS:
        return None
    text = said[:LONGEST_SAID].decode(errors="replace")
    shown = "".join(character if character.isprintable() else " " for character in text).strip()
    asked = next((value for name, value in headers if name.lower() == b"retry-after"), None)
    wait = retry_after(asked, now) if asked is not None and status in SLOW_DOWN else None
    return EndpointFailedError(status, shown, wait)


def retry_after(value: bytes, now: datetime) -> timedelta | None:
    """Return for how long Retry-After asks, in seconds or until a date; None for what says neither."""
    if SECONDS.fullmatch(value):
        return timedelta(seconds=int(value))
    try:
        until = parsedate_to_datetime(value.decode("ascii"))
    except ValueError:
        return None
    return max((until if until.tzinfo else until.replace(tzinfo=UTC)) - now, timedelta(0))
