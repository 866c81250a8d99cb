"""Topics, subscriptions and the ends of deliveries, row by row: a test of one verb needs no other verb."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from datapunk_broker.engine.audit import audit
from datapunk_broker.engine.publish import publish
from datapunk_broker.envelope import Outgoing
from datapunk_broker.models import (
    Attempt,
    Binding,
    DeadLetter,
    Delivery,
    Message,
    SettledDelivery,
    StreamEntry,
    StreamHead,
    Subscription,
    Topic,
)
from datapunk_broker.states import (
    DeliveryState,
    FailureReason,
    Settled,
    SubscriptionState,
    TopicType,
    Transport,
)


def make_topic(name: str = "orders", *, stream: bool = False, using: str = "default", **options: Any) -> Topic:
    """A fanout topic by default; with ``stream`` also the subscription and the head that belong to it."""
    options = {"type": TopicType.FANOUT, **options}
    topic = Topic.objects.using(using).create(name=name, stream=stream, **options)
    if stream:
        make_subscription(topic, f"stream:{name}", transport=Transport.STREAM, using=using)
        StreamHead.objects.using(using).create(topic=topic)
    return topic


def make_subscription(
    topic: Topic,
    name: str = "billing",
    bindings: Iterable[str | dict[str, Any]] = (),
    *,
    using: str = "default",
    **options: Any,
) -> Subscription:
    """A subscription; a binding is a routing key or pattern, or a dict of header arguments."""
    options = {"transport": Transport.PULL, **options}
    subscription = Subscription.objects.using(using).create(topic=topic, name=name, **options)
    Binding.objects.using(using).bulk_create(
        Binding(subscription=subscription, **({"routing_key": b} if isinstance(b, str) else {"headers": b}))
        for b in bindings
    )
    return subscription


def delete_subscription(subscription: Subscription) -> None:
    """A tombstone."""
    rows = Subscription.objects.filter(pk=subscription.pk)
    rows.update(state=SubscriptionState.DELETED, deleted_at=Now())


def delete_topic(topic: Topic) -> None:
    """A tombstone, and one for each of its subscriptions."""
    Subscription.objects.live().of_topic(topic).update(state=SubscriptionState.DELETED, deleted_at=Now())
    Topic.objects.filter(pk=topic.pk).update(deleted_at=Now())


def published(topic: Topic | str, *payloads: Any, using: str = "default", **options: Any) -> list[Message]:
    """Publish these payloads, ``options`` being those of ``Outgoing``; in the order of publishing."""
    name = topic if isinstance(topic, str) else topic.name
    receipts = publish(name, [Outgoing(payload, **options) for payload in payloads], using=using)
    messages = Message.objects.using(using).in_bulk([receipt.message_id for receipt in receipts])
    return [messages[receipt.message_id] for receipt in receipts]


def claimed(subscription: Subscription, messages: Iterable[Message]) -> list[Delivery]:
    """Claim the deliveries of these messages for a minute, as a worker would."""
    rows = Delivery.objects.of(subscription.pk).filter(message__in=[m.pk for m in messages])
    for row in rows:
        row.state, row.claims, row.ack_token = DeliveryState.CLAIMED, row.claims + 1, uuid4()
        row.lease_until = timezone.now() + timedelta(minutes=1)
        row.save()
    return list(rows)


def ended(subscription: Subscription, messages: Sequence[Message], outcome: Settled = Settled.ACKED) -> None:
    """Settle the deliveries of these messages, as a worker would have."""
    ids = [message.pk for message in messages]
    count, _ = Delivery.objects.of(subscription.pk).filter(message__in=ids).delete()
    assert count == len(ids), "only a live delivery can end"
    SettledDelivery.objects.bulk_create(
        SettledDelivery(
            message_id=pk,
            subscription_id=subscription.pk,
            outcome=outcome,
            attempts=1,
            settled_at=timezone.now(),
            latency=0.1,
        )
        for pk in ids
    )


def died(
    subscription: Subscription,
    messages: Sequence[Message],
    reason: FailureReason = FailureReason.PROCESSING_ERROR,
    **fields: Any,
) -> list[DeadLetter]:
    """Let the deliveries of these messages die of one failed attempt each."""
    ended(subscription, messages, Settled.DEAD)
    now = timezone.now()
    about = {"subscription_id": subscription.pk, "reason": reason, "error_class": "ValueError"}
    Attempt.objects.bulk_create(Attempt(message_id=m.pk, attempt=1, failed_at=now, **about) for m in messages)
    fields = {"attempts": 1, "first_failed_at": now, "dead_at": now, **about, **fields}
    return [DeadLetter.objects.create(topic_id=m.topic_id, message_id=m.pk, **fields) for m in messages]


def appended(messages: Sequence[Message]) -> list[int]:
    """Append these messages, all of one topic, to its stream; return their positions."""
    topic = messages[0].topic_id
    head = StreamHead.objects.get(topic=topic)
    positions = list(range(head.position + 1, head.position + 1 + len(messages)))
    pushed = Delivery.objects.filter(subscription__transport=Transport.STREAM)
    pushed.filter(message__in=[m.pk for m in messages]).delete()
    StreamEntry.objects.bulk_create(
        StreamEntry(topic_id=topic, position=position, message_id=m.pk, appended_at=timezone.now())
        for position, m in zip(positions, messages, strict=True)
    )
    StreamHead.objects.filter(topic=topic).update(position=positions[-1])
    return positions


def aged(messages: Iterable[Message], by: timedelta) -> list[Message]:
    """Make messages, and every row about them, older; their ids begin with the time, so they get new ones."""
    return [_aged(message, by) for message in messages]


def _aged(message: Message, by: timedelta) -> Message:
    # The id's own time is moved, so that messages published at one moment keep their order.
    new = UUID(int=message.pk.int - (by // timedelta(milliseconds=1) << 80))
    moments: dict[Any, tuple[str, ...]] = {
        Delivery: ("published_at", "available_at"),
        SettledDelivery: ("settled_at",),
        DeadLetter: ("dead_at", "first_failed_at"),
        Attempt: ("failed_at",),
        StreamEntry: ("appended_at",),
    }
    for model, columns in moments.items():
        older = {column: F(column) - by for column in columns}
        model.objects.filter(message=message.pk).update(message=new, **older)
    older = {column: F(column) - by for column in ("published_at", "available_at")}
    Message.objects.filter(pk=message.pk).update(id=new, **older)
    return Message.objects.get(pk=new)


def balanced() -> bool:
    """Whether every message is accounted for exactly once, for every subscription."""
    return all(line.balance == 0 and line.ok for line in audit(using="default"))
