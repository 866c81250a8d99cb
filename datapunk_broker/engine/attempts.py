"""Keep what is known of each attempt that failed, within a bound."""

from collections.abc import Sequence

from django.db.models import Exists, OuterRef

from datapunk_broker.models import Attempt

KEPT = 100
"""Failed attempts that are kept of a delivery: its first, since when it fails, and the newest."""


def record(attempts: Sequence[Attempt], *, using: str) -> None:
    """Add these, and remove what is too old of deliveries that fail again and again."""
    rows = Attempt.objects.using(using)
    rows.bulk_create(attempts)
    failing = [row for row in attempts if row.attempt > KEPT]
    if failing:
        newer = Attempt.objects.filter(message=OuterRef("message_id"), subscription=OuterRef("subscription_id"))
        surpassed = Exists(newer.filter(attempt__gte=OuterRef("attempt") + KEPT - 1))
        messages, subscriptions = {row.message_id for row in failing}, {row.subscription_id for row in failing}
        rows.filter(surpassed, message__in=messages, subscription__in=subscriptions, attempt__gt=1).delete()
