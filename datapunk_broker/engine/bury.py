"""Settle deliveries that nobody acked: dead, expired or dropped."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec
from django.db.models import Min

from datapunk_broker import signals
from datapunk_broker.engine.histogram import buckets_of
from datapunk_broker.engine.publish import announce_refusal, check_each, publish
from datapunk_broker.engine.roster import Subscriber
from datapunk_broker.envelope import Outgoing
from datapunk_broker.exceptions import BrokerError
from datapunk_broker.models import Attempt, DeadLetter, Delivery, Message, SettledDelivery, Traffic
from datapunk_broker.payload import decompress
from datapunk_broker.states import Encoding, FailureReason, Settled

DEAD_PATH = "datapunk-dead-path"
"""The header of a dead letter's copy that lists the topics it died in, the first of them first."""


@dataclass(frozen=True, slots=True)
class End:
    """How one locked delivery ends, at the database's ``now``. ``attempts``: how many were charged in all."""

    delivery: Delivery
    outcome: Settled
    reason: FailureReason
    attempts: int
    now: datetime
    error_class: str = ""
    error_message: str = ""
    traceback: str = ""


def bury(ends: Sequence[End], roster: Mapping[int, Subscriber], *, using: str) -> None:
    """Settle these locked deliveries; a bounded few statements, whatever their number."""
    if not ends:
        return
    Delivery.objects.using(using).filter(pk__in=[end.delivery.pk for end in ends]).delete()
    _keep_history(ends, roster, using)
    _count(ends, roster, using)
    _keep_dead_letters([e for e in ends if e.outcome == Settled.DEAD and _keeps(e, roster)], roster, using)
    _copy_to_dead_letter_topics([e for e in ends if e.outcome != Settled.DROPPED], roster, using)


def _keeps(end: End, roster: Mapping[int, Subscriber]) -> bool:
    return roster[end.delivery.subscription_id].keeps_dead_letters


def _keep_history(ends: Sequence[End], roster: Mapping[int, Subscriber], using: str) -> None:
    rows = [
        SettledDelivery(
            message_id=end.delivery.message_id,
            subscription_id=end.delivery.subscription_id,
            outcome=end.outcome,
            attempts=end.attempts,
            settled_at=end.now,
            latency=_latency(end),
        )
        for end in ends
        if roster[end.delivery.subscription_id].keeps_history
    ]
    again = ["outcome", "attempts", "settled_at", "latency"]
    SettledDelivery.objects.using(using).bulk_create(
        rows, update_conflicts=True, unique_fields=["message", "subscription"], update_fields=again
    )


def _count(ends: Sequence[End], roster: Mapping[int, Subscriber], using: str) -> None:
    latencies: dict[tuple[int, Settled], list[float]] = defaultdict(list)
    for end in ends:
        latencies[end.delivery.subscription_id, end.outcome].append(_latency(end))
    minute = ends[0].now.replace(second=0, microsecond=0)
    Traffic.objects.using(using).bulk_create(
        Traffic(
            subscription_id=subscription,
            outcome=outcome,
            minute=minute,
            count=len(some),
            seconds=sum(some),
            buckets=buckets_of(some),
        )
        for (subscription, outcome), some in latencies.items()
    )
    for (subscription, outcome), some in latencies.items():
        names = {"subscription": roster[subscription].name, "topic": roster[subscription].topic}
        signals.announce_on_commit(signals.settled, sender=bury, using=using, **names, outcome=outcome, count=len(some))


def _latency(end: End) -> float:
    return max(0.0, (end.now - end.delivery.published_at).total_seconds())


def _keep_dead_letters(ends: Sequence[End], roster: Mapping[int, Subscriber], using: str) -> None:
    if not ends:
        return
    first = _first_failures(ends, using)
    rows = [
        DeadLetter(
            topic_id=roster[end.delivery.subscription_id].topic_id,
            subscription_id=end.delivery.subscription_id,
            message_id=end.delivery.message_id,
            reason=end.reason,
            error_class=end.error_class,
            error_message=end.error_message,
            traceback=end.traceback,
            attempts=end.attempts,
            first_failed_at=first.get((end.delivery.message_id, end.delivery.subscription_id), end.now),
            dead_at=end.now,
        )
        for end in ends
    ]
    # A delivery that was redriven and died again opens its dead letter again, with its redrives counted.
    again = ["reason", "error_class", "error_message", "traceback", "attempts", "dead_at", "redriven_at"]
    DeadLetter.objects.using(using).bulk_create(
        rows, update_conflicts=True, unique_fields=["message", "subscription"], update_fields=again
    )
    _announce(ends, roster, using)


def _announce(ends: Sequence[End], roster: Mapping[int, Subscriber], using: str) -> None:
    if not signals.dead_lettered.receivers:
        return
    correlations = correlation_ids([end.delivery.message_id for end in ends], using=using)
    for end in ends:
        signals.announce_on_commit(
            signals.dead_lettered,
            sender=bury,
            using=using,
            subscription=roster[end.delivery.subscription_id].name,
            topic=roster[end.delivery.subscription_id].topic,
            message_id=end.delivery.message_id,
            correlation_id=correlations.get(end.delivery.message_id),
            reason=end.reason,
            error_class=end.error_class,
        )


def correlation_ids(messages: Sequence[UUID], *, using: str) -> dict[UUID, str | None]:
    """Return the correlation ids of messages, for whoever is told what became of them."""
    return dict(Message.objects.using(using).filter(pk__in=messages).values_list("pk", "correlation_id"))


def _first_failures(ends: Sequence[End], using: str) -> dict[tuple[UUID, int], datetime]:
    found = Attempt.objects.using(using).filter(message__in=[end.delivery.message_id for end in ends])
    pairs = found.order_by().values_list("message_id", "subscription_id").annotate(first=Min("failed_at"))
    return {(message, subscription): first for message, subscription, first in pairs}


def _copy_to_dead_letter_topics(ends: Sequence[End], roster: Mapping[int, Subscriber], using: str) -> None:
    by_topic: dict[str, list[End]] = defaultdict(list)
    for end in ends:
        if target := roster[end.delivery.subscription_id].dead_letter_topic:
            by_topic[target].append(end)
    for target, some in by_topic.items():
        messages = Message.objects.using(using).in_bulk([end.delivery.message_id for end in some])
        copies = [_copy(messages[e.delivery.message_id], e, roster) for e in some if e.delivery.message_id in messages]
        # Topics that name one another as theirs would hand a message round for ever.
        _publish_copies(target, [copy for copy in copies if target not in copy.headers[DEAD_PATH]], using)


def _publish_copies(topic: str, copies: Sequence[Outgoing[object]], using: str) -> None:
    """Publish those that the topic takes; the others are announced, and the dead letters themselves are kept."""
    problems = check_each(topic, copies, using=using)
    for problem in filter(None, problems):
        announce_refusal(topic, problem)
    if fitting := [copy for copy, problem in zip(copies, problems, strict=True) if problem is None]:
        with suppress(BrokerError):
            publish(topic, fitting, using=using)


def _copy(message: Message, end: End, roster: Mapping[int, Subscriber]) -> Outgoing[object]:
    body = decompress(bytes(message.body), Encoding(message.encoding), limit=2**31)
    is_json = message.content_type == "application/json"
    subscriber = roster[end.delivery.subscription_id]
    earlier = message.headers.get(DEAD_PATH)
    origin = {
        DEAD_PATH: [*(earlier if isinstance(earlier, list) else ()), subscriber.topic],
        "datapunk-dead-topic": subscriber.topic,
        "datapunk-dead-subscription": subscriber.name,
        "datapunk-dead-reason": end.reason.value,
        "datapunk-dead-message": str(message.id),
    }
    return Outgoing(
        payload=msgspec.Raw(body) if is_json else body,
        routing_key=message.routing_key,
        headers={**message.headers, **origin},
        priority=message.priority,
        ordering_key=message.ordering_key,
        correlation_id=message.correlation_id,
        content_type=message.content_type,
    )
