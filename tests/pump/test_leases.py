"""Leases: a call begins only when it can end within its claim; what cannot begin is handed back unharmed."""

import asyncio
import threading
from typing import Any

import pytest

from datapunk_broker.envelope import Received
from datapunk_broker.models import Delivery
from datapunk_broker.pump import pump_for
from datapunk_broker.pump.deliver import deliver
from tests.pump.conftest import Subscribe
from tests.pump.make import acked, claimed, drain, ended, owed, publish

pytestmark = pytest.mark.django_db


def nap(message: Received[Any]) -> None:
    threading.Event().wait(0.1)


async def nap_later(message: Received[Any]) -> None:
    await asyncio.sleep(0.1)


def nap_many(messages: list[Received[Any]]) -> None:
    threading.Event().wait(0.1)


@pytest.mark.parametrize(
    ("mode", "handler"),
    [
        ("at_least_once", nap),
        ("at_least_once", nap_many),
        ("exactly_once", nap),
        ("exactly_once", nap_many),
        ("exactly_once", nap_later),  # one after the other, for they share a transaction
    ],
)
def test_what_the_lease_does_not_cover_is_handed_back_unharmed(subscribe: Subscribe, mode: str, handler: Any) -> None:
    subscribe(handler, timeout=10, delivery_mode=mode, batch_size=1)
    published = publish(1, 2, 3)
    assert deliver(claimed(lease=10.15)) == 2
    assert acked() == set(published[:2])
    assert [(d.state, d.claims, d.attempt, d.lapses) for d in owed()] == [("ready", 0, 0, 0)]


def test_with_no_time_left_nothing_is_started(subscribe: Subscribe) -> None:
    got: list[Any] = []
    subscribe(got.append, timeout=10)
    publish(1, 2)
    assert deliver(claimed(lease=9.9)) == 0
    assert got == []
    assert [(d.state, d.claims) for d in owed()] == [("ready", 0)] * 2


def test_a_lease_as_short_as_the_timeout_still_lets_a_call_begin(subscribe: Subscribe) -> None:
    subscribe(lambda message: None, ack_deadline=5, timeout=5)
    publish(1)
    assert drain() == 1
    assert ended() == ["acked"]


def test_a_claim_lasts_at_least_as_long_as_its_first_call_may(subscribe: Subscribe) -> None:
    leases: list[float] = []

    def bill(message: Received[Any]) -> None:
        row = Delivery.objects.get()
        assert row.lease_until is not None
        leases.append((row.lease_until - row.published_at).total_seconds())

    subscribe(bill, ack_deadline=5, timeout=5)
    publish(1)
    drain()
    assert 6 <= leases[0] < 10


def test_where_one_claim_cannot_serve_all_each_has_its_turn(subscribe: Subscribe) -> None:
    got: list[str] = []

    def bill(message: Received[Any]) -> None:
        got.append(message.subscription)
        threading.Event().wait(0.6)

    for name in ("a", "b", "c"):
        subscribe(bill, name, ack_deadline=10, timeout=10)
    publish(1)
    pump = pump_for("handler")
    pump.round()
    assert got == ["a", "b"]
    publish(2)
    pump.round()
    assert got[2] == "c"
