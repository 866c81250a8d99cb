"""Count from the messages what was published, minute by minute, and add it to what is known for ever."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import TypeVar
from uuid import UUID

from django.db import transaction
from django.db.models import Count, QuerySet
from django.db.models.functions import Now

from datapunk_broker.engine.dialects import COUNTING, dialect_of
from datapunk_broker.ids import first_id_at, moment_of
from datapunk_broker.models import Message, Topic, TrafficMinute, TrafficTotal

MINUTE = timedelta(minutes=1)

CLOSED_AFTER = MINUTE
"""A minute is counted when it is over for so long; until then its messages are counted when somebody asks."""

RECOUNTED = 15 * MINUTE
"""For so long a counted minute is counted again, for transactions that took their time to commit."""

AT_ONCE = 60
"""Minutes counted in one transaction."""

FIRST = UUID(int=0)

Counts = Mapping[tuple[int, datetime], int]
Row = TypeVar("Row", TrafficMinute, TrafficTotal)


def count_published(*, using: str) -> int:
    """Count every closed minute that may still change; return how many messages were new.

    One counts at a time, the others return 0. An id says which minute a message is of. What commits, or comes
    from a publisher whose clock is behind, over a quarter of an hour late is in no total.
    """
    new, done = 0, False
    while not done:
        with transaction.atomic(using=using):
            if not dialect_of(using).try_lock(COUNTING):
                return new
            some, done = _count_some(using)
        new += some
    return new


def counted_before(*, using: str) -> UUID:
    """Return the id below which messages are counted; the smallest of all before the first time."""
    marks = TrafficTotal.objects.using(using).marks().values_list("counted_before", flat=True)
    return marks.first() or FIRST


def counted_for_good(*, using: str) -> datetime:
    """Return the moment before which all is counted for the last time; the epoch before the first time."""
    before = counted_before(using=using)
    return moment_of(before) - RECOUNTED if before != FIRST else moment_of(FIRST)


def _count_some(using: str) -> tuple[int, bool]:
    """Count the next minutes; return how many messages were new, and whether these minutes were the last."""
    now: datetime | None = Topic.objects.using(using).order_by("pk").values_list(Now(), flat=True).first()
    if now is None:
        return 0, True
    end = _minute_of(now - CLOSED_AFTER)
    minutes = list(islice(_minutes(counted_for_good(using=using), end, using), AT_ONCE))
    counts = {(topic, minute): count for minute in minutes for topic, count in _count(minute, using).items()}
    new, done = _keep(counts, using), len(minutes) < AT_ONCE
    _mark(end if done else minutes[-1] + MINUTE, using)
    return new, done


def _minutes(start: datetime, end: datetime, using: str) -> Iterator[datetime]:
    """Yield the minutes that have messages; it looks for the next one when it is asked."""
    rows = Message.objects.using(using).filter(id__lt=first_id_at(end)).order_by("id").values_list("id", flat=True)
    while first := rows.filter(id__gte=first_id_at(start)).first():
        minute = _minute_of(moment_of(first))
        yield minute
        start = minute + MINUTE


def _count(minute: datetime, using: str) -> dict[int, int]:
    rows = Message.objects.using(using).filter(id__gte=first_id_at(minute), id__lt=first_id_at(minute + MINUTE))
    return dict(rows.order_by().values_list("topic_id").annotate(Count("pk")))


def _keep(counts: Counts, using: str) -> int:
    """Write the counts that grew; return by how much. They shrink when messages are pruned."""
    known = _known(counts, using)
    grown = {key: more for key, count in counts.items() if (more := count - known[key].count) > 0}
    rows = TrafficTotal.objects.using(using)
    topics = {topic for topic, _ in grown}
    totals = {topic: TrafficTotal(topic_id=topic, outcome=TrafficMinute.PUBLISHED) for topic in topics}
    totals |= {row.topic_id: row for row in rows.of_topics().filter(topic__in=topics)}
    for (topic, minute), more in grown.items():
        known[topic, minute].count += more
        totals[topic].count += more
    _save([known[key] for key in grown], TrafficMinute.objects.using(using))
    _save(list(totals.values()), rows)
    return sum(grown.values())


def _known(counts: Counts, using: str) -> dict[tuple[int, datetime], TrafficMinute]:
    blank = {"outcome": TrafficMinute.PUBLISHED, "count": 0}
    new = {(topic, minute): TrafficMinute(topic_id=topic, minute=minute, **blank) for topic, minute in counts}
    rows = TrafficMinute.objects.using(using).of_topics()
    kept = rows.filter(topic__in={topic for topic, _ in counts}, minute__in={minute for _, minute in counts})
    return new | {(row.topic_id, row.minute): row for row in kept}


def _mark(reached: datetime, using: str) -> None:
    """Note that all before a moment is counted; never an earlier one, whatever clocks say."""
    before = first_id_at(reached)
    marks = TrafficTotal.objects.using(using).marks()
    if not marks.exists():
        TrafficTotal.objects.using(using).create(outcome=TrafficMinute.PUBLISHED, counted_before=before)
    marks.filter(counted_before__lt=before).update(counted_before=before)


def _save(rows: Sequence[Row], objects: QuerySet[Row]) -> None:
    objects.bulk_update([row for row in rows if row.pk], ["count"])
    objects.bulk_create([row for row in rows if not row.pk])


def _minute_of(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)
