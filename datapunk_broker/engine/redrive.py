"""Deliver dead letters again, as they were or with another payload; or discard them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from math import isfinite
from typing import Any, Final, Literal
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now

from datapunk_broker.engine.letters import Chosen, Letters, chosen
from datapunk_broker.engine.packing import LONGEST, pack
from datapunk_broker.engine.publish import publish_to
from datapunk_broker.engine.rearm import close, fresh_delivery, insert
from datapunk_broker.engine.routes import route_of
from datapunk_broker.envelope import Outgoing
from datapunk_broker.exceptions import PayloadInvalidError
from datapunk_broker.models import DeadLetter, Message, SettledDelivery, Subscription


class Missing(Enum):
    """What stands for a payload that was not given: None is one, JSON's null."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING

NAMED = 100_000
"""Of how many dead letters a redrive tells what became of each; ``count`` is of all."""


@dataclass(frozen=True, slots=True)
class Redriven:
    """What a redrive did, or with ``dry_run`` would do.

    message_ids: of the messages that are delivered again; with a payload given, of the new ones that took
    their place (none when dry). skipped: the dead letters whose subscription or message is gone, by id.
    Both name the first ``NAMED``.
    """

    count: int
    message_ids: tuple[UUID, ...]
    skipped: tuple[int, ...]


def redrive(
    dead_letters: Chosen,
    *,
    payload: Any | Literal[Missing.MISSING] = MISSING,
    dry_run: bool = False,
    rate: float | None = None,
    progress: Callable[[int], None] | None = None,
    using: str,
) -> Redriven:
    """Deliver the open ones among these dead letters again: a transaction each 500, every letter once.

    Without ``payload`` the delivery itself is made ready again, no attempt charged, and it never expires: one
    that had would only die again at once. With it a new message goes to that subscription alone, all but the
    payload as it was and ``redriven_from`` the dead one, without its idempotency key and time to live.
    rate: at most so many a second become due. progress: called with how many dead letters were seen so far.
    Raises ConfigInvalidError for an unknown filter, PayloadInvalidError for a rate; an edited redrive what
    ``publish`` raises, with the batches before kept.
    """
    letters = chosen(dead_letters, using=using)
    _check_fits(letters, payload, using)
    pace = _Pace(rate, letters.count() if rate else 0)
    message_ids: list[UUID] = []
    skipped: list[int] = []
    count = looked_at = 0
    for some in letters.pages():
        with transaction.atomic(using=using):
            batch = _take(some, using)
            if dry_run:
                done = batch.messages if payload is MISSING else []
            elif payload is MISSING:
                done = _again(batch, pace, using)
            else:
                done = _edited(batch, payload, pace, using)
        message_ids += done[: NAMED - len(message_ids)]
        skipped += batch.skipped[: NAMED - len(skipped)]
        count += len(batch.owed)
        looked_at += len(some)
        if progress:
            progress(looked_at)
    return Redriven(count, tuple(message_ids), tuple(skipped))


def _check_fits(letters: Letters, payload: Any, using: str) -> None:
    """Refuse a payload that a topic of theirs refuses, before any is delivered again."""
    for topic, content_type in sorted(set(letters.kinds())) if payload is not MISSING else ():
        pack(route_of(topic, using, fresh=True), Outgoing(payload, content_type=content_type))


def discard(dead_letters: Chosen, *, using: str) -> int:
    """Delete these dead letters and return how many; that the deliveries died stays in the history.

    Raises ConfigInvalidError for an unknown filter.
    """
    deleted = 0
    for some in chosen(dead_letters, using=using).pages():
        deleted += DeadLetter.objects.using(using).filter(pk__in=some).delete()[0]
    return deleted


@dataclass(frozen=True, slots=True)
class _Owed:
    """A locked open dead letter, by id, and what it is about, at the database's ``now``."""

    letter: int
    message: Message
    subscription: Subscription
    now: datetime


@dataclass(frozen=True, slots=True)
class _Batch:
    owed: Sequence[_Owed]
    skipped: Sequence[int]

    @property
    def letters(self) -> list[int]:
        return [owed.letter for owed in self.owed]

    @property
    def messages(self) -> list[UUID]:
        return [owed.message.pk for owed in self.owed]


def _take(ids: Sequence[int], using: str) -> _Batch:
    asked = DeadLetter.objects.using(using).open().filter(pk__in=ids)
    subscriptions = _lock_subscriptions(asked.order_by().values("subscription_id"), using)
    # Whoever waited here for another redrive of the same letters finds them closed.
    locked = asked.select_for_update(no_key=True).order_by("pk")
    letters = list(locked.values_list("pk", "message_id", "subscription_id", Now()))
    messages = Message.objects.using(using).defer("body").in_bulk([message for _, message, *_ in letters])
    owed = [
        _Owed(letter, messages[message], subscriptions[subscription], now)
        for letter, message, subscription, now in letters
        if message in messages and subscription in subscriptions
    ]
    taken = {one.letter for one in owed}
    skipped = [letter for letter, *_ in letters if letter not in taken]
    return _Batch(owed, skipped)


def _lock_subscriptions(ids: QuerySet[Any, Any], using: str) -> Mapping[int, Subscription]:
    """Lock those that are still there: none of them is deleted, or becomes ordered, under a redrive."""
    rows = Subscription.objects.using(using).live().filter(pk__in=ids, topic__deleted_at=None)
    rows = rows.select_related("topic").select_for_update(no_key=True, of=("self",))
    return {row.pk: row for row in rows.order_by("pk")}


def _again(batch: _Batch, pace: "_Pace", using: str) -> list[UUID]:
    pair = {"message": OuterRef("message_id"), "subscription": OuterRef("subscription_id")}
    died = Exists(DeadLetter.objects.filter(pk__in=batch.letters, **pair))
    SettledDelivery.objects.using(using).filter(died, message__in=batch.messages).delete()
    deliveries = [
        fresh_delivery(one.message, one.subscription, now=one.now, at=pace.next(one.now)) for one in batch.owed
    ]
    insert(deliveries, using=using)
    close(batch.letters, using=using)
    return batch.messages


def _edited(batch: _Batch, payload: Any, pace: "_Pace", using: str) -> list[UUID]:
    made = []
    for one in batch.owed:
        route = route_of(one.subscription.topic.name, using)
        outgoing = _edit(one.message, payload, pace.next(one.now) - one.now)
        new = publish_to(route, one.subscription.pk, outgoing, redriven_from=one.message.pk, using=using)
        made.append(new)
    close(batch.letters, using=using)
    return made


def _edit(message: Message, payload: Any, delay: timedelta) -> Outgoing[Any]:
    return Outgoing(
        payload,
        routing_key=message.routing_key,
        headers=message.headers,
        priority=message.priority,
        ordering_key=message.ordering_key,
        delay=delay,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        content_type=message.content_type,
    )


class _Pace:
    """When each next dead letter is due: all at once, or so many a second from the first on."""

    def __init__(self, rate: float | None, count: int) -> None:
        if rate is not None and not _is_pace(rate):
            raise PayloadInvalidError("rate", f"is {rate!r}; it is a number above 0, of dead letters a second")
        if rate is not None and count / rate > LONGEST.total_seconds():
            raise PayloadInvalidError("rate", f"is {rate!r}: {count} would take more than {LONGEST.days} days")
        self.rate = rate
        self.given = 0
        self.began: datetime | None = None

    def next(self, now: datetime) -> datetime:
        if self.rate is None:
            return now
        self.began = self.began or now
        due = self.began + timedelta(seconds=self.given / self.rate)
        self.given += 1
        return max(due, now)


def _is_pace(rate: object) -> bool:
    return isinstance(rate, int | float) and not isinstance(rate, bool) and isfinite(rate) and rate > 0
