"""What a worker does, verb by verb, on the default database; and time, which passes by ageing rows."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db.models import F
from django.db.models.functions import Now
from django.dispatch import Signal

from datapunk_broker.engine.claim import claim, claim_suspect
from datapunk_broker.engine.hold import Key
from datapunk_broker.engine.roster import Subscriber, subscribers
from datapunk_broker.engine.rows import Claimed, Wanted
from datapunk_broker.engine.settle import Verdicts, settle
from datapunk_broker.models import Delivery, Message, SettledDelivery, Subscription, Traffic

USING = "default"


def subscriber_of(subscription: Subscription) -> Subscriber:
    return subscribers([subscription.pk], USING)[subscription.pk]


def roster_of(*subscriptions: Subscription) -> dict[int, Subscriber]:
    return subscribers([subscription.pk for subscription in subscriptions], USING)


def wanted(*subscriptions: Subscription, share: int = 100, lease: float = 30.0) -> list[Wanted]:
    return [Wanted(subscription.pk, share, lease) for subscription in subscriptions]


def claimed(*subscriptions: Subscription, count: int = 100, lease: float = 30.0) -> list[Claimed]:
    return claim(wanted(*subscriptions, share=count, lease=lease), limit=count, using=USING)


def suspected(subscription: Subscription) -> list[Claimed]:
    return claim_suspect(subscriber_of(subscription), using=USING)


def keys(rows: Iterable[Claimed]) -> list[Key]:
    return [row.key for row in rows]


def messages_of(rows: Iterable[Claimed]) -> list[Any]:
    return [row.message for row in rows]


def acked(rows: Sequence[Claimed], *subscriptions: Subscription) -> frozenset[Key]:
    return settle(Verdicts(acked=keys(rows)), roster_of(*subscriptions), using=USING)


def failed(rows: Sequence[Claimed], error: Exception, *subscriptions: Subscription) -> frozenset[Key]:
    return settle(Verdicts(failed=dict.fromkeys(keys(rows), error)), roster_of(*subscriptions), using=USING)


def let_lapse() -> None:
    """Every lease is over."""
    Delivery.objects.filter(state="claimed").update(lease_until=Now() - timedelta(seconds=1))


def let_pass(time: timedelta) -> None:
    """All that waits has waited for so much longer."""
    Delivery.objects.update(available_at=F("available_at") - time, published_at=F("published_at") - time)
    Delivery.objects.exclude(expires_at=None).update(expires_at=F("expires_at") - time)


def only_delivery() -> Delivery:
    return Delivery.objects.get()


def outcomes() -> list[tuple[Any, str, int]]:
    """What is known of the settled: message, outcome, attempts."""
    rows = SettledDelivery.objects.order_by("message_id", "subscription_id")
    return list(rows.values_list("message_id", "outcome", "attempts"))


def counted() -> list[tuple[int, str, int]]:
    """What traffic counted: subscription, outcome, how many."""
    rows = Traffic.objects.order_by("pk").values_list("subscription_id", "outcome", "count")
    return [(subscription, str(outcome), count) for subscription, outcome, count in rows]


def nothing_was_stored() -> bool:
    return not Message.objects.exists() and not Delivery.objects.exists()


@contextmanager
def hearing(signal: Signal) -> Iterator[list[dict[str, Any]]]:
    """What a signal says meanwhile."""
    heard: list[dict[str, Any]] = []

    def listen(signal: object, sender: object, **event: Any) -> None:
        heard.append(event)

    signal.connect(listen)
    try:
        yield heard
    finally:
        signal.disconnect(listen)
