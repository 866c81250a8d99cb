"""Remove what is past its retention, and what was deleted, in short transactions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, F, Model, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now

from datapunk_broker.conf import get_config
from datapunk_broker.engine.kinds import ANY
from datapunk_broker.engine.published import count_published, counted_for_good
from datapunk_broker.ids import first_id_at
from datapunk_broker.models import (
    Attempt,
    DeadLetter,
    Delivery,
    Message,
    SettledDelivery,
    StreamEntry,
    Subscription,
    Topic,
    TrafficMinute,
    TrafficTotal,
)
from datapunk_broker.models.delivery import DeliveryQuerySet

TOMBSTONE_AGE = timedelta(hours=1)
"""How long a tombstone stays at least, so that no transaction is left that still saw the thing alive."""

MINUTES_KEPT = timedelta(days=30)
"""How long traffic is known by the minute."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows of each kind went.

    dead_letters: open ones past their own retention, and closed ones with their messages. minutes: traffic
    of long ago, and of deleted topics and subscriptions. tombstones: those topics and subscriptions themselves.
    """

    messages: int
    dead_letters: int
    stream_entries: int
    attempts: int
    minutes: int
    tombstones: int


@dataclass(frozen=True, slots=True)
class _Due:
    """A topic, and the moment before which it keeps nothing; None for a deleted one, which keeps nothing."""

    topic: int
    before: datetime | None


def prune(*, using: str, batch: int = 1000, progress: Callable[[int], None] | None = None) -> Pruned:
    """Remove dead letters, stream entries, messages and tombstones whose time is over, oldest first.

    A message goes with its history and its closed dead letters once its topic's retention is over, unless it
    has a live delivery (one to a subscription that is no more goes with it), an open dead letter or a place in the
    stream, or is so new that it is not counted for good.
    Open dead letters go after a time of their own, the entries of a stream as a prefix, traffic by the minute after
    ``MINUTES_KEPT``. The messages of a deleted topic go at once, save those being settled. A topic or subscription
    deleted over an hour ago goes when nothing is left that it was part of.
    batch: rows a transaction. progress: called with how many rows went so far.
    """
    pruning = _Pruning(using, batch, progress or (lambda _: None))
    fields = ("pk", "retention_hours", "deleted_at", Now())
    topics = list(Topic.objects.using(using).order_by("pk").values_list(*fields))
    config = get_config()
    for *_, now in topics[:1]:
        pruning.dead_letters(now - timedelta(hours=config.dead_letter_retention_hours))
        pruning.minutes(now - MINUTES_KEPT)
    count_published(using=using)
    counted = counted_for_good(using=using)
    for topic, own_hours, deleted_at, now in topics:
        hours = config.retention_hours if own_hours is None else own_hours
        before = now - timedelta(hours=hours)
        pruning.stream(_Due(topic, None if deleted_at else before))
        pruning.messages(_Due(topic, None if deleted_at else min(before, counted)))
    pruning.tombstones()
    return Pruned(**pruning.gone)


class _Pruning:
    """One round, counting what went."""

    def __init__(self, using: str, batch: int, progress: Callable[[int], None]) -> None:
        self.using, self.batch, self.progress = using, batch, progress
        self.gone = dict.fromkeys(Pruned.__slots__, 0)

    def dead_letters(self, before: datetime) -> None:
        """Remove open dead letters that nobody wanted in their time."""
        open_ones = DeadLetter.objects.using(self.using).open().filter(dead_at__lt=before)
        done = self.batch
        while done == self.batch:
            with transaction.atomic(using=self.using):
                rows = open_ones.select_for_update(no_key=True, skip_locked=True)
                ids = list(rows.order_by("pk").values_list("pk", flat=True)[: self.batch])
                done = len(ids)
                self._delete("dead_letters", DeadLetter.objects.using(self.using).filter(pk__in=ids))

    def stream(self, due: _Due) -> None:
        """Remove the oldest entries of a topic's stream, so that what stays is without a gap."""
        entries = StreamEntry.objects.using(self.using).filter(topic=due.topic)
        old = self.batch
        while old == self.batch:
            with transaction.atomic(using=self.using):
                first = list(entries.order_by("position").values_list("position", "appended_at")[: self.batch])
                positions = [p for p, at in first if due.before is None or at < due.before]
                old = positions[-1] - first[0][0] + 1 if positions else 0
                if positions:
                    self._delete("stream_entries", entries.filter(position__lte=positions[-1]))

    def minutes(self, before: datetime) -> None:
        """Remove the traffic of long ago: what came first is the oldest, so that no index by time is needed."""
        rows = TrafficMinute.objects.using(self.using)
        old = [0]
        while old:
            first = rows.order_by("pk").values_list("pk", "minute")[: self.batch]
            old = [pk for pk, minute in first if minute < before]
            if old:
                self._delete("minutes", rows.filter(pk__in=old))

    def messages(self, due: _Due) -> None:
        """Remove a topic's old messages, looking at each of them once and at no other."""
        old = Message.objects.using(self.using).filter(topic=due.topic)
        if due.before is not None:
            old = old.filter(id__lt=first_id_at(due.before), published_at__lt=due.before)
        seen = UUID(int=0)
        window = [seen] * self.batch
        while len(window) == self.batch:
            with transaction.atomic(using=self.using):
                found = old.filter(id__gt=seen).order_by("id").values_list("id", flat=True)
                window = list(found[: self.batch])
                self._remove(self._free(window, due), due.topic)
            seen = window[-1] if window else seen

    def _free(self, window: Sequence[UUID], due: _Due) -> list[UUID]:
        """Lock and return the messages that nothing holds."""
        holders: list[QuerySet[Any]] = [Delivery.objects.all()]
        owed = Delivery.objects.using(self.using).filter(message__in=window)
        if due.before is None:
            self._abandon(owed)
            self._delete("dead_letters", DeadLetter.objects.using(self.using).open().filter(message__in=window))
        else:
            # Their subscription was deleted past the broker, or before their publisher committed.
            self._abandon(owed.filter(~Exists(Subscription.objects.filter(pk=OuterRef("subscription_id")))))
            holders += [DeadLetter.objects.open(), StreamEntry.objects.all()]
        unheld = Message.objects.using(self.using).filter(
            *(~Exists(rows.filter(message=OuterRef("pk"))) for rows in holders), pk__in=window
        )
        locked = unheld.select_for_update(no_key=True, skip_locked=True, of=("self",)).order_by("id")
        ids = list(locked.values_list("id", flat=True))
        # Asked again under the lock: a seek may have made one owed after the first look began.
        return list(unheld.filter(pk__in=ids).order_by().values_list("id", flat=True))

    def _abandon(self, owed: DeliveryQuerySet) -> None:
        """Remove deliveries that nobody waits for, save what is being settled right now."""
        ids = list(owed.locked(skip=True).values_list("pk", flat=True))
        if ids:
            Delivery.objects.using(self.using).filter(pk__in=ids).delete()

    def _remove(self, messages: Sequence[UUID], topic: int) -> None:
        if not messages:
            return
        SettledDelivery.objects.using(self.using).filter(message__in=messages).delete()
        self._delete("attempts", Attempt.objects.using(self.using).filter(message__in=messages))
        self._delete("dead_letters", DeadLetter.objects.using(self.using).filter(message__in=messages))
        self._delete("messages", Message.objects.using(self.using).filter(pk__in=messages))
        self._note(topic, len(messages))

    def _note(self, topic: int, count: int) -> None:
        """Add to how many of the topic's messages were removed, so that nobody has to count those that are kept."""
        rows = TrafficTotal.objects.using(self.using)
        row = TrafficTotal(topic_id=topic, outcome=TrafficTotal.PRUNED)
        while not rows.pruned().filter(topic=topic).update(count=F("count") + count):
            rows.bulk_create([row], ignore_conflicts=True)

    def tombstones(self) -> None:
        """Remove deleted subscriptions, then deleted topics, that no row refers to any more."""
        ago = Now() - TOMBSTONE_AGE
        oldest = Message.objects.filter(topic=OuterRef("topic_id")).order_by("id").values("published_at")[:1]
        subscriptions = Subscription.objects.using(self.using).filter(deleted_at__lt=ago)
        # Whatever refers to a subscription is about a message from before it was deleted.
        unused = subscriptions.annotate(oldest=Subquery(oldest)).filter(Q(oldest=None) | Q(oldest__gt=F("deleted_at")))
        self._bury(Subscription.plain.using(self.using), unused.exclude(pk__in=self._owed(unused)), "subscription")
        left: list[QuerySet[Any]] = [
            Subscription.objects.all(),
            Message.objects.all(),
            StreamEntry.objects.all(),
        ]
        empty = (~Exists(rows.filter(topic=OuterRef("pk"))) for rows in left)
        topics = Topic.objects.using(self.using)
        self._bury(topics, topics.filter(*empty, deleted_at__lt=ago), "topic")

    def _owed(self, subscriptions: QuerySet[Subscription]) -> set[int]:
        """Return which of these still have deliveries, each asked for by index."""
        ids = list(subscriptions.values_list("pk", flat=True))
        owed = Delivery.objects.using(self.using).of(*ids).filter(ANY)
        return set(owed.order_by().values_list("subscription_id", flat=True).distinct())

    def _bury(self, rows: QuerySet[Any], found: QuerySet[Any], kind: str) -> None:
        """Remove up to a batch of tombstones with their traffic; the next round goes on."""
        with transaction.atomic(using=self.using):
            ids = list(found.order_by("pk").values_list("pk", flat=True)[: self.batch])
            minutes = TrafficMinute.objects.using(self.using).filter(**{f"{kind}__in": ids})
            self._delete("minutes", minutes)
            TrafficTotal.objects.using(self.using).filter(**{f"{kind}__in": ids}).delete()
            rows.filter(pk__in=ids).delete()
        self.gone["tombstones"] += len(ids)

    def _delete(self, kind: str, rows: QuerySet[Model]) -> None:
        count = rows.delete()[0]
        self.gone[kind] += count
        if count:
            self.progress(sum(self.gone.values()))
