"""Choose the one pump of a transport that waits when there is nothing to do, and know where no pump is."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Now

from datapunk_broker.engine.kinds import CLAIMED, READY, with_ready
from datapunk_broker.models import Standby, Subscription
from datapunk_broker.states import BreakerState, SubscriptionState, Transport


def stand_by(transport: str, holder: UUID, lease: timedelta, *, using: str) -> bool:
    """Become or stay the standby of a transport for this long; False if another pump is."""
    mine_or_free = Q(holder=holder) | Q(until__lte=Now())
    rows = Standby.objects.using(using).filter(mine_or_free, transport=transport)
    if rows.update(holder=holder, until=Now() + lease):
        return True
    if Standby.objects.using(using).filter(transport=transport).exists():
        return False
    Standby.objects.using(using).bulk_create(
        [Standby(transport=transport, holder=holder, until=Now() + lease)], ignore_conflicts=True
    )
    return Standby.objects.using(using).filter(transport=transport, holder=holder).exists()


def stand_down(transport: str, holder: UUID, *, using: str) -> None:
    """Let another pump be the standby, and leave behind when the last pump ended."""
    mine_or_free = Q(holder=holder) | Q(until__lte=Now())
    Standby.objects.using(using).filter(mine_or_free, transport=transport).update(until=Now())


@dataclass(frozen=True, slots=True)
class Pumps:
    """For which transports a pump stands by, and for which deliveries wait that no pump takes."""

    standing_by: AbstractSet[str]
    stuck: AbstractSet[str]


def look_at_pumps(late: timedelta, *, using: str) -> Pumps:
    """Find the transports where deliveries have been ready for so long, and no pump was there for as long.

    A pump that is busy has claims, or ended a moment ago, when a slice of its time was over.
    """
    standbys = Standby.objects.using(using)
    standing_by = set(standbys.filter(until__gt=Now()).values_list("transport", flat=True))
    there = set(standbys.filter(until__gt=Now() - late).values_list("transport", flat=True))
    served = Subscription.objects.filter(state=SubscriptionState.ACTIVE, breaker_state=BreakerState.CLOSED)
    unserved = served.exclude(transport__in={Transport.PULL, *there})
    waiting = Q(available_at__lt=Now() - late) & (Q(expires_at=None) | Q(expires_at__gt=Now()))
    stuck = with_ready(unserved, "transport", [kind & waiting for kind in READY], using=using)
    if stuck:
        stuck -= with_ready(unserved, "transport", [CLAIMED], using=using)
    return Pumps(standing_by, stuck)
