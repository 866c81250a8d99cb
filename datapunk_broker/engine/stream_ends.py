"""Know where streams end, and where in a stream a moment lies."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from datapunk_broker.engine.moments import in_utc
from datapunk_broker.engine.read import ends_of
from datapunk_broker.models import StreamEntry, StreamHead, Topic


@dataclass(frozen=True, slots=True)
class Head:
    """Where a stream ends. stream: what tells it from that of another topic that had the same name."""

    stream: int
    position: int


def heads(topics: Collection[str], *, using: str) -> dict[str, Head]:
    """Return the ends of those of these topics that are there and have a stream, by name; one statement."""
    found = StreamHead.objects.using(using).filter(topic__in=Topic.objects.live().named(*topics), topic__stream=True)
    rows = found.values_list("topic__name", "topic_id", "position")
    return {name: Head(stream, position) for name, stream, position in rows}


def position_at(topic: str, moment: datetime, *, using: str) -> int:
    """Return the position after which everything published at or after a moment lies.

    Some twenty small statements: positions grow with the time of appending, which is after that of publishing.
    Raises TopicNotFoundError, ConfigInvalidError for a topic without a stream.
    """
    moment = in_utc(moment)
    pk, oldest, head = ends_of(topic, using)
    entries = StreamEntry.objects.using(using).filter(topic=pk).order_by("position")
    low, high = (oldest or head + 1), head + 1
    while low < high:
        middle = (low + high) // 2
        appended_at = entries.filter(position__gte=middle).values_list("appended_at", flat=True).first()
        if appended_at is None or appended_at >= moment:
            high = middle
        else:
            low = middle + 1
    later = entries.filter(position__gte=low, message__published_at__gte=moment).values_list("position", flat=True)
    first = later.first()
    return head if first is None else first - 1
