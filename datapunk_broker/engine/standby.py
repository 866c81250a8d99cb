"""Choose the one pump of a transport that waits when there is nothing to do."""

from datetime import timedelta
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Now

from datapunk_broker.models import Standby


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
    """Let another pump be the standby."""
    Standby.objects.using(using).filter(transport=transport, holder=holder).update(until=Now())
