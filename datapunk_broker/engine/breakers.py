"""Turn the breakers of subscriptions by what was settled, where every worker sees it."""

from collections.abc import Mapping, Sequence

from django.db import transaction

from datapunk_broker import signals
from datapunk_broker.breaker import Breaker, after
from datapunk_broker.engine.roster import Subscriber
from datapunk_broker.models import Subscription
from datapunk_broker.states import BreakerState


def breaker_of(row: Subscription) -> Breaker:
    """Return a subscription's breaker as a value."""
    return Breaker(BreakerState(row.breaker_state), row.breaker_failures, row.breaker_until)


def save_breaker(row: Subscription, breaker: Breaker, *, using: str) -> None:
    """Write a subscription's breaker."""
    row.breaker_state, row.breaker_failures, row.breaker_until = breaker.state, breaker.failures, breaker.until
    row.save(using=using, update_fields=["breaker_state", "breaker_failures", "breaker_until"])


def lock_breakers(roster: Mapping[int, Subscriber], *, failing: bool, using: str) -> list[Subscription]:
    """Lock the subscriptions whose breakers a batch may turn, before any delivery is; ``now`` is on each row.

    Acks alone turn none that is closed and has no failures, so nothing is locked for them.
    """
    policies = [pk for pk, subscriber in roster.items() if subscriber.breaker]
    if not policies:
        return []
    rows = Subscription.objects.using(using).select_for_update(no_key=True).filter(pk__in=policies)
    if not failing:
        rows = rows.exclude(breaker_state=BreakerState.CLOSED, breaker_failures=0)
    return list(rows.with_now().order_by("pk"))


def count(subscriber: Subscriber, *, acked: int, failed: int, using: str) -> None:
    """Turn a subscription's breaker by what was handled after it was settled (at most once)."""
    if subscriber.breaker and acked + failed:
        roster = {subscriber.id: subscriber}
        with transaction.atomic(using=using):
            rows = lock_breakers(roster, failing=failed > 0, using=using)
            turn_breakers(rows, {subscriber.id: acked}, {subscriber.id: failed}, roster, using=using)


def turn_breakers(
    rows: Sequence[Subscription],
    acked: Mapping[int, int],
    failed: Mapping[int, int],
    roster: Mapping[int, Subscriber],
    *,
    using: str,
) -> None:
    """Count acks, and the failures after the last of them, on these locked rows; a statement for each that changes."""
    for row in rows:
        before, policy = breaker_of(row), roster[row.pk].breaker
        if policy is None:
            continue
        turned = after(policy, before, acked=acked.get(row.pk, 0), failed=failed.get(row.pk, 0), now=row.now)
        if turned != before:
            save_breaker(row, turned, using=using)
        if turned.state != before.state:
            signals.announce_on_commit(
                signals.breaker_changed,
                sender=turn_breakers,
                using=using,
                subscription=row.name,
                state=turned.state,
                until=turned.until,
            )
