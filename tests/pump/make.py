"""What a test of the pump looks at: what is still owed, what ended and how, and what went wrong on the way."""

import time
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import F
from django.db.models.functions import Now

from datapunk_broker import broker
from datapunk_broker.engine.claim import claim
from datapunk_broker.engine.roster import Roster
from datapunk_broker.engine.rows import Wanted
from datapunk_broker.models import Attempt, DeadLetter, Delivery, SettledDelivery, Subscription
from datapunk_broker.pump import pump_for
from datapunk_broker.pump.batch import Batch
from datapunk_broker.states import DeliveryState
from datapunk_broker.transports.handler import HandlerTransport


def publish(*payloads: Any, topic: str = "orders", **options: Any) -> list[UUID]:
    receipts = broker.publish_many(topic, [broker.Outgoing(payload, **options) for payload in payloads])
    return [receipt.message_id for receipt in receipts]


def drain() -> int:
    """Pump until nothing is ready; what waits for its time goes on waiting."""
    return pump_for("handler").drain()


def claimed(name: str = "billing", share: int = 100, lease: float = 60.0) -> Batch:
    """A batch as the pump has it between its claim and its delivery; ``lease``: the seconds that are left."""
    [subscriber] = [s for s in Roster("handler", "default").current().values() if s.name == name]
    rows = claim([Wanted(subscriber.id, share, 60.0)], limit=share, using="default")
    return Batch(subscriber, rows, HandlerTransport(), time.monotonic() + lease, "default")


def owed(name: str = "billing") -> list[Delivery]:
    return list(Delivery.objects.filter(subscription__in=ids(name)).order_by("pk"))


def states(name: str = "billing") -> list[str]:
    return [delivery.state for delivery in owed(name)]


def ended(name: str = "billing") -> list[str]:
    rows = SettledDelivery.objects.filter(subscription__in=ids(name)).order_by("pk")
    return list(rows.values_list("outcome", flat=True))


def acked(name: str = "billing") -> set[UUID]:
    rows = SettledDelivery.objects.filter(subscription__in=ids(name), outcome="acked")
    return set(rows.values_list("message_id", flat=True))


def attempts(name: str = "billing") -> list[Attempt]:
    return list(Attempt.objects.filter(subscription__in=ids(name)).order_by("pk"))


def dead_letters(name: str = "billing") -> list[DeadLetter]:
    return list(DeadLetter.objects.filter(subscription__in=ids(name)).order_by("pk"))


def ids(name: str) -> list[int]:
    return list(Subscription.objects.filter(name=name).values_list("pk", flat=True))


def make_due(name: str = "billing") -> int:
    """Let the time come for which retries wait."""
    waiting = Delivery.objects.filter(subscription__in=ids(name), state=DeliveryState.SCHEDULED)
    return waiting.update(state=DeliveryState.READY, available_at=Now())


def end_leases(name: str = "billing") -> None:
    """Let the time of claimed deliveries be over."""
    rows = Delivery.objects.filter(subscription__in=ids(name), state=DeliveryState.CLAIMED)
    rows.update(lease_until=F("lease_until") - timedelta(hours=1))


def take_away(name: str = "billing") -> None:
    """Let another worker have the claims, as after a lease that ran out."""
    Delivery.objects.filter(subscription__in=ids(name)).update(ack_token=UUID(int=1))
