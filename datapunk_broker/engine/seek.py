"""Move a subscription to a time or a position: what lies ahead is owed again, what lies behind no more."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet
from django.db.models.functions import Now

from datapunk_broker.conf import get_config
from datapunk_broker.engine.bury import End, bury
from datapunk_broker.engine.kinds import ANY, BY_AGE
from datapunk_broker.engine.letters import batches
from datapunk_broker.engine.moments import in_utc
from datapunk_broker.engine.rearm import close, fresh_delivery, insert
from datapunk_broker.engine.roster import resolve
from datapunk_broker.engine.routes import rules_of
from datapunk_broker.exceptions import PayloadInvalidError, SubscriptionNotFoundError
from datapunk_broker.ids import SKEW, first_id_at
from datapunk_broker.matching import compile_rules
from datapunk_broker.models import (
    Binding,
    DeadLetter,
    Delivery,
    Message,
    SettledDelivery,
    StreamEntry,
    StreamHead,
    Subscription,
)
from datapunk_broker.models.delivery import DeliveryQuerySet
from datapunk_broker.states import DeliveryState, FailureReason, Settled, TopicType, Transport

BATCH = 500
"""Deliveries or messages a transaction."""

LOOK = 20 * BATCH
"""Deliveries found in one look, which reads all that the subscription has."""


@dataclass(frozen=True, slots=True)
class Sought:
    """What a seek did.

    rearmed: messages routed here before and settled, owed again. recreated: messages older than the
    subscription or its bindings, owed for the first time. settled: deliveries behind the point, dropped.
    """

    rearmed: int
    recreated: int
    settled: int


@dataclass(frozen=True, slots=True)
class _Point:
    """Where a seek goes: the deliveries behind it, the messages ahead of it."""

    behind: Q
    ahead: QuerySet[Message]


def seek(subscription: str, *, to: datetime | int, using: str, progress: Callable[[int], None] | None = None) -> Sought:
    """Make the subscription owed every kept message published at or after ``to``, and none from before.

    ``to`` is a time (with a time zone) or a position in the topic's stream, which is what was last seen: the
    messages after it are ahead. A message that the stream no longer has, or never had, is left as it is.
    Ahead, what was settled is delivered again (no attempt charged, it never expires, its dead letter is
    closed), what is on its way is left to it, and what matches the bindings now but was not routed here is
    created, save for redrives to another subscription. In an ordered subscription what waits is placed anew
    behind what comes again, so that each key is in order; what is claimed, or published meanwhile, is not.
    Behind, what waits is settled as dropped; what is claimed is left to who has it, and so is what another
    transaction holds: this never waits for a delivery.
    Oldest first, a short transaction each 500. progress: called with how many deliveries behind and messages
    ahead were seen so far.
    Raises SubscriptionNotFoundError; PayloadInvalidError for a time without zone, a position without stream.
    """
    row = Subscription.objects.using(using).listed().named(subscription).first()
    if row is None:
        raise SubscriptionNotFoundError(subscription)
    point = _to_position(row, to, using) if isinstance(to, int) else _to_time(row, to, using)
    walk = _Walk(row, using, progress or (lambda _: None))
    walk.drop(point.behind)
    newest = Message.objects.using(using).filter(topic=row.topic_id).order_by("-id").values_list("id", flat=True)[:1]
    for last in newest:
        while walk.owe(point.ahead.filter(id__lte=last)):
            pass
    return Sought(walk.rearmed, walk.recreated, walk.dropped)


def _to_time(row: Subscription, to: object, using: str) -> _Point:
    if not isinstance(to, datetime) or to.utcoffset() is None:
        raise PayloadInvalidError("to", f"is {to!r}; it is a datetime with a time zone, or a position")
    moment = in_utc(to)
    messages = Message.objects.using(using).filter(topic=row.topic_id)
    return _Point(
        behind=Q(published_at__lt=moment),
        ahead=messages.filter(id__gte=first_id_at(moment, earlier=SKEW), published_at__gte=moment),
    )


def _to_position(row: Subscription, to: int, using: str) -> _Point:
    if isinstance(to, bool) or not 0 <= to < 2**63:
        raise PayloadInvalidError("to", f"is {to!r}; a position is a whole number, 0 for the beginning")
    if not StreamHead.objects.using(using).filter(topic=row.topic_id).exists():
        raise PayloadInvalidError("to", f"is a position, but the topic of {row.name!r} has no stream; give a time")
    entries = StreamEntry.objects.using(using).filter(topic=row.topic_id)
    streams = Subscription.objects.using(using).live().filter(topic=row.topic_id, transport=Transport.STREAM)
    coming = Delivery.objects.using(using).filter(subscription__in=streams)
    # Positions are not in the order of the ids, so the first of all that lie ahead says where to begin.
    firsts = [
        *entries.filter(position__gt=to).order_by("message_id").values_list("message_id", flat=True)[:1],
        *coming.order_by("message_id").values_list("message_id", flat=True)[:1],
    ]
    messages = Message.objects.using(using).filter(topic=row.topic_id)
    later = Exists(entries.filter(position__gt=to, message=OuterRef("pk")))
    ahead = messages.filter(later | Exists(coming.filter(message=OuterRef("pk"))))
    return _Point(
        behind=Q(Exists(entries.filter(position__lte=to, message=OuterRef("message_id")))),
        ahead=ahead.filter(id__gte=min(firsts)) if firsts else messages.none(),
    )


class _Walk:
    """Goes through what lies behind and ahead, a batch a transaction, and counts."""

    def __init__(self, row: Subscription, using: str, progress: Callable[[int], None]) -> None:
        self.row, self.using, self.progress = row, using, progress
        self.rearmed = self.recreated = self.dropped = self.looked_at = 0
        self.last_delivery = 0
        self.last_message = UUID(int=0)

    def drop(self, behind: Q) -> None:
        """Settle what waits behind the point; what somebody held is looked at once more, when he may be done."""
        held: list[int] = []
        while found := self._found(behind):
            for some in batches(found, BATCH):
                held += self._drop(some)
            self.last_delivery = found[-1]
        for some in batches(held, BATCH):
            self._drop(some)

    def _found(self, behind: Q) -> list[int]:
        mine = Delivery.objects.using(self.using).of(self.row.pk).filter(ANY, behind, pk__gt=self.last_delivery)
        waiting = mine.exclude(state=DeliveryState.CLAIMED)
        return list(waiting.order_by(BY_AGE).values_list("pk", flat=True)[:LOOK])

    def _drop(self, ids: Sequence[int]) -> set[int]:
        """Settle those of these that nobody holds; return the others."""
        with transaction.atomic(using=self.using):
            row = self._lock()
            waiting = list(self._waiting(pk__in=ids).with_now().order_by("pk"))
            # A drop leaves no trace of its reason: it makes no dead letter.
            ends = [End(d, Settled.DROPPED, FailureReason.UNKNOWN, d.attempt, d.now) for d in waiting]
            bury(ends, {row.pk: resolve(row, get_config())}, using=self.using)
        self.dropped += len(waiting)
        self._looked_at(waiting)
        return set(ids) - {delivery.pk for delivery in waiting}

    def owe(self, ahead: QuerySet[Message]) -> bool:
        """Make the next batch of what lies ahead owed; return whether there may be more."""
        with transaction.atomic(using=self.using):
            row = self._lock()
            # The lock is against prune, which must not take a message between this look and the insert.
            rows = ahead.filter(id__gt=self.last_message).select_for_update(no_key=True, of=("self",))
            messages = list(rows.defer("body").annotate(now=Now()).order_by("id")[:BATCH])
            if not messages:
                return False
            now: datetime = messages[0].now
            live = self._live(messages)
            ended = [m for m in messages if m.pk not in live]
            again = [m for m in ended if row.pk in m.routed_to]
            new = _matching(row, [m for m in ended if row.pk not in m.routed_to and m.redriven_from is None])
            owed = [fresh_delivery(m, row, now=now, at=m.available_at) for m in (*again, *new)]
            self.rearmed += len(again)
            self.recreated += len(new)
            if row.ordering and self.rearmed + self.recreated:
                owed += self._uproot(live)
            self._insert(owed)
            self._note(new)
        self.last_message = messages[-1].pk
        return self._looked_at(messages)

    def _lock(self) -> Subscription:
        """Lock the subscription: another seek, a redrive or a change of its bindings waits for this batch."""
        bindings = Prefetch("bindings", queryset=Binding.objects.using(self.using))
        rows = Subscription.objects.using(self.using).live().select_related("topic").prefetch_related(bindings)
        row = rows.select_for_update(no_key=True, of=("self",)).filter(pk=self.row.pk).first()
        if row is None:
            raise SubscriptionNotFoundError(self.row.name)
        return row

    def _live(self, messages: Sequence[Message]) -> set[UUID]:
        live = Delivery.objects.using(self.using).of(self.row.pk).filter(message__in=[m.pk for m in messages])
        return set(live.values_list("message_id", flat=True))

    def _waiting(self, **lookups: object) -> DeliveryQuerySet:
        """Lock what waits and nobody holds: whoever holds a delivery may want the subscription, which is locked."""
        mine = Delivery.objects.using(self.using).of(self.row.pk).exclude(state=DeliveryState.CLAIMED)
        return mine.filter(**lookups).locked(skip=True)

    def _uproot(self, messages: Collection[UUID]) -> list[Delivery]:
        """Take out what waits under an ordering key, to be inserted again as it was, but later."""
        waiting = list(self._waiting(message__in=messages, ordering_key__isnull=False))
        Delivery.objects.using(self.using).filter(pk__in=[d.pk for d in waiting]).delete()
        for delivery in waiting:
            delivery.pk = None
        return waiting

    def _insert(self, owed: list[Delivery]) -> None:
        pairs = {"subscription": self.row.pk, "message__in": [d.message_id for d in owed]}
        SettledDelivery.objects.using(self.using).filter(**pairs).delete()
        insert(sorted(owed, key=lambda d: d.message_id), using=self.using)
        letters = DeadLetter.objects.using(self.using).open().filter(**pairs).select_for_update(no_key=True)
        close(list(letters.order_by("pk").values_list("pk", flat=True)), using=self.using)

    def _note(self, new: Sequence[Message]) -> None:
        for message in new:
            message.routed_to = [*message.routed_to, self.row.pk]
        Message.objects.using(self.using).bulk_update(new, ["routed_to"])

    def _looked_at(self, batch: Sequence[object]) -> bool:
        self.looked_at += len(batch)
        self.progress(self.looked_at)
        return len(batch) == BATCH


def _matching(row: Subscription, messages: Sequence[Message]) -> list[Message]:
    kind = TopicType(row.topic.type)
    matcher = compile_rules(kind, rules_of(row, kind))
    return [m for m in messages if matcher.match(m.routing_key, m.headers)]
