"""Ordering switched on and off while messages wait."""

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from datapunk_broker.engine.keeping import RESTAMP_FOR
from datapunk_broker.engine.sweep import sweep
from datapunk_broker.engine.topology import update_subscription
from datapunk_broker.models import Delivery, Subscription
from tests.engine.verbs import USING, send, subscribe, topic

pytestmark = pytest.mark.django_db


def keys(name: str = "billing") -> set[str | None]:
    return set(Delivery.objects.filter(subscription__name=name).values_list("ordering_key", flat=True))


def test_ordering_switched_on_holds_for_what_waits_already() -> None:
    topic()
    subscribe()
    for key in ("a", "b", None):
        send(ordering_key=key)
    with CaptureQueriesContext(connection) as statements:
        update_subscription("billing", {"ordering": True}, using=USING)
    writes = [s["sql"] for s in statements if s["sql"].startswith('UPDATE "datapunk_broker_delivery"')]
    assert len(writes) == 1
    assert keys() == {"a", "b", None}
    send(ordering_key="c")
    assert keys() == {"a", "b", "c", None}


def test_ordering_switched_off_frees_what_waits_already() -> None:
    topic()
    subscribe(ordering=True)
    send(ordering_key="a")
    update_subscription("billing", {"ordering": False}, using=USING)
    send(ordering_key="b")
    assert keys() == {None}


@pytest.mark.parametrize("ordering", [True, False])
def test_the_sweep_mends_what_was_published_or_settled_in_the_moment_of_a_change(ordering: bool) -> None:
    topic()
    subscribe(ordering=not ordering)
    update_subscription("billing", {"ordering": ordering}, using=USING)
    send(ordering_key="a")
    send(ordering_key="b")
    Delivery.objects.filter(message__ordering_key="a").update(ordering_key=None if ordering else "a")
    sweep(using=USING)
    assert keys() == ({"a", "b"} if ordering else {None})


def test_the_sweep_looks_for_such_no_longer_than_for_a_while() -> None:
    topic()
    subscribe()
    update_subscription("billing", {"ordering": True}, using=USING)
    send(ordering_key="a")
    Delivery.objects.update(ordering_key=None)
    Subscription.objects.update(restamp_until=F("restamp_until") - RESTAMP_FOR)
    sweep(using=USING)
    assert keys() == {None}
