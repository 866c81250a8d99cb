"""Lock the deliveries that a worker still holds: those that carry the token of its claim."""

from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from datapunk_broker.models import Delivery
from datapunk_broker.states import DeliveryState

Key = tuple[int, UUID]
"""A claim: the delivery and the token that the claim minted."""


def hold(keys: Collection[Key], *, using: str) -> dict[Key, Delivery]:
    """Lock the deliveries that still carry these tokens, to the end of the transaction; the others are lost.

    Each row has ``now``, the database's clock.
    """
    if not keys:
        return {}
    ids, tokens = {delivery for delivery, _ in keys}, {token for _, token in keys}
    rows = Delivery.objects.using(using).locked().filter(pk__in=ids, ack_token__in=tokens)
    held = {(row.pk, row.ack_token): row for row in rows.with_now().order_by("pk")}
    return {key: held[key] for key in keys if key in held}


def release(keys: Collection[Key], *, using: str) -> frozenset[Key]:
    """Hand claims back as if they had not been made; return those that were still held."""
    with transaction.atomic(using=using):
        held = hold(keys, using=using)
        if held:
            hand_back([delivery for delivery, _ in held], using=using)
    return frozenset(held)


def extend(keys: Collection[Key], by: timedelta, *, using: str) -> frozenset[Key]:
    """Lease claims for ``by`` from now; return those that were still held."""
    with transaction.atomic(using=using):
        held = hold(keys, using=using)
        if held:
            ids = [delivery for delivery, _ in held]
            Delivery.objects.using(using).filter(pk__in=ids).update(lease_until=Now() + by)
    return frozenset(held)


def hand_back(deliveries: Collection[int], *, using: str) -> None:
    """Make claimed deliveries ready again, their claim not counted."""
    Delivery.objects.using(using).filter(pk__in=deliveries, state=DeliveryState.CLAIMED).update(
        state=DeliveryState.READY, claims=F("claims") - 1, ack_token=None, lease_until=None
    )
