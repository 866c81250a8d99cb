"""Ordering switched on and off while messages wait."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from datapunk_broker.engine.keeping import restamp
from datapunk_broker.engine.topology import (
    update_subscription,
)
from datapunk_broker.models import Delivery
from tests.engine.verbs import USING, send, subscribe, topic

pytestmark = pytest.mark.django_db


def keys(name: str = "billing") -> set[str | None]:
    return set(Delivery.objects.filter(subscription__name=name).values_list("ordering_key", flat=True))


def test_ordering_switched_on_holds_for_what_waits_already() -> None:
    topic()
    subscribe()
    for key in ("a", "b", None):
        send(ordering_key=key)
    with CaptureQueriesContext(
        connection,
    ) as statements:
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


def test_restamping_again_mends_what_a_late_publisher_brought_in() -> None:
    topic()
    made = subscribe()
    send(ordering_key="a")
    send(ordering_key="b")
    Delivery.objects.filter(message__ordering_key="a").update(ordering_key="a")
    assert restamp(made, using=USING) == 1
    assert keys() == {None}
    assert restamp(made, using=USING) == 0
