"""Know the kinds of live deliveries: each has an index of its own, and what asks otherwise walks over them all."""

from collections.abc import Iterable
from typing import Any

from django.db.models import Exists, F, Func, IntegerField, OuterRef, Q, QuerySet, Subquery

from datapunk_broker.models import Delivery, Subscription
from datapunk_broker.states import DeliveryState

PLAIN = Q(state=DeliveryState.READY, lapses=0, ordering_key=None)
SUSPECT = Q(state=DeliveryState.READY, lapses__gt=0)
KEYED = Q(ordering_key__isnull=False)
SCHEDULED = Q(state=DeliveryState.SCHEDULED)
CLAIMED = Q(state=DeliveryState.CLAIMED)

ANY = PLAIN | SUSPECT | KEYED | SCHEDULED | CLAIMED
"""Every delivery, said in a way that finds those of some subscriptions by index."""

READY = {PLAIN: ("-priority", "pk"), SUSPECT: ("pk",), KEYED & Q(state=DeliveryState.READY): ("ordering_key", "pk")}
"""The ready ones; with each kind, the order in which its index has those of one subscription."""

_APART = {
    PLAIN: ("-priority", "pk"),
    SUSPECT & Q(ordering_key=None): ("pk",),
    KEYED: ("ordering_key", "pk"),
    CLAIMED & Q(ordering_key=None): ("lease_until",),
}
"""All but the scheduled without a key, none of them twice."""

BY_AGE = F("pk") + 0
"""Orders by id, but not by the primary key's index: it has the rows of all other subscriptions, too."""


def with_ready(
    subscriptions: QuerySet[Subscription], field: str, kinds: Iterable[Q] = tuple(READY), *, using: str
) -> set[Any]:
    """Return this field of those subscriptions that have a ready delivery of these kinds; one statement."""
    ready = Delivery.objects.using(using).filter(subscription=OuterRef("pk"))
    first, *others = (
        subscriptions.using(using).filter(Exists(ready.filter(kind))).order_by().values_list(field, flat=True)
        for kind in kinds
    )
    return set(first.union(*others) if others else first)


def count_of_each(at_most: int, *, using: str) -> F | Func:
    """Return the expression for a subscription's live deliveries, each kind counted up to ``at_most``.

    It leaves out the scheduled ones without a key: their index is by time, so they are counted in one go.
    """
    deliveries = Delivery.objects.using(using).filter(subscription=OuterRef("pk"))
    first, *others = (_count(deliveries.filter(kind).order_by(*order)[:at_most]) for kind, order in _APART.items())
    return sum(others, start=first)


def _count(some: QuerySet[Delivery]) -> Func:
    counted = "(SELECT count(*) FROM %(expressions)s AS counted)"
    return Func(Subquery(some.values("pk")), template=counted, output_field=IntegerField())
