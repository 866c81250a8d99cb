"""Make a message owed to a subscription again, as on its first day."""

from collections.abc import Collection, Sequence
from datetime import datetime

from django.db.models import F
from django.db.models.functions import Now

from datapunk_broker.models import DeadLetter, Delivery, Message, Subscription
from datapunk_broker.states import DeliveryState


def fresh_delivery(message: Message, subscription: Subscription, *, now: datetime, at: datetime) -> Delivery:
    """Return a delivery without a past, due ``at``.

    It never expires, whatever the message said: one that had expired would only die again at once.
    """
    return Delivery(
        message_id=message.pk,
        subscription_id=subscription.pk,
        state=DeliveryState.SCHEDULED if at > now else DeliveryState.READY,
        priority=message.priority,
        ordering_key=message.ordering_key if subscription.ordering else None,
        published_at=message.published_at,
        available_at=max(at, now),
    )


def insert(deliveries: Sequence[Delivery], *, using: str) -> None:
    """Insert deliveries in this order; a pair that has a live one keeps it."""
    Delivery.objects.using(using).bulk_create(deliveries, ignore_conflicts=True)


def close(dead_letters: Collection[int], *, using: str) -> None:
    """Note on these locked dead letters that they were redriven now."""
    if dead_letters:
        closing = DeadLetter.objects.using(using).filter(pk__in=dead_letters)
        closing.update(redriven_at=Now(), redrives=F("redrives") + 1)
