"""Max in flight, and breakers: how much of a subscription is under way, and when it stops for a while."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from datapunk_broker import broker
from datapunk_broker.envelope import Received
from datapunk_broker.models import Subscription
from datapunk_broker.pump import pump_for
from tests.engine.racing import Actors
from tests.pump.conftest import Subscribe
from tests.pump.make import attempts, drain, ended, make_due, owed, publish

POLICY = broker.BreakerPolicy(failures=3, open_seconds=60)


def breaker() -> str:
    return str(Subscription.objects.get(name="billing").breaker_state)


def let_the_pause_be_over() -> None:
    later = {"breaker_until": F("breaker_until") - timedelta(hours=1)}
    Subscription.objects.filter(name="billing").update(**later)


@pytest.mark.django_db(transaction=True)
@pytest.mark.postgresql
def test_no_more_than_max_in_flight_are_under_way_whatever_the_number_of_pumps(subscribe: Subscribe) -> None:
    lock = threading.Lock()
    under_way: list[int] = [0]
    most: list[int] = [0]

    def bill(message: Received[Any]) -> None:
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        threading.Event().wait(0.005)
        with lock:
            under_way[0] -= 1

    subscribe(bill, max_in_flight=2)
    publish(*range(40))
    actors = Actors()
    pumps = [actors.start(lambda: pump_for("handler").run(seconds=30, linger=0.3)) for _ in range(4)]
    for pump in pumps:
        pump.result(40)
    actors.close()
    assert ended() == ["acked"] * 40
    assert most[0] <= 2


@pytest.mark.django_db
def test_a_claim_takes_no_more_than_max_in_flight(subscribe: Subscribe) -> None:
    claimed: list[int] = []
    subscribe(lambda message: claimed.append(sum(d.state == "claimed" for d in owed())), max_in_flight=3)
    publish(*range(10))
    drain()
    assert max(claimed) == 3
    assert len(claimed) == 10


@pytest.mark.django_db
@pytest.mark.parametrize("mode", ["at_least_once", "exactly_once"])
def test_a_breaker_opens_lets_one_probe_through_and_closes(subscribe: Subscribe, mode: str) -> None:
    is_down = True
    seen: list[int] = []

    def bill(message: Received[Any]) -> None:
        seen.append(message.payload)
        if is_down:
            raise OSError("no answer")

    subscribe(bill, breaker=POLICY, max_attempts=9, retry_delay=0, delivery_mode=mode)
    publish(*range(10))

    drain()
    assert breaker() == "open"
    # It stopped at the third failure: what was claimed behind it is handed back, and no attempt of it is burnt.
    assert len(attempts()) == 3
    assert [d.attempt for d in owed()] == [1] * 3 + [0] * 7
    assert {d.state for d in owed()} == {"ready"}
    assert drain() == 0

    let_the_pause_be_over()
    assert drain() == 1
    assert (breaker(), len(attempts())) == ("open", 4)

    is_down = False
    let_the_pause_be_over()
    seen.clear()
    probe = pump_for("handler")
    assert probe.round() == 1
    assert (breaker(), len(seen)) == ("closed", 1)
    drain()
    assert ended() == ["acked"] * 10


@pytest.mark.django_db
def test_a_pump_that_knew_the_breaker_as_closed_claims_nothing_once_it_is_open(subscribe: Subscribe) -> None:
    subscribe(_fail, breaker=POLICY, max_attempts=9, retry_delay=60)
    second = pump_for("handler")
    assert second.round() == 0
    publish(*range(10))
    drain()
    assert breaker() == "open"
    before = len(attempts())
    make_due()
    assert second.drain() == 0
    assert len(attempts()) == before


@pytest.mark.django_db
def test_open_breakers_cost_an_idle_pump_one_statement_and_no_lock(subscribe: Subscribe) -> None:
    def bill(message: Received[Any]) -> None:
        raise ValueError

    for number in range(5):
        subscribe(bill, f"s{number}", breaker=broker.BreakerPolicy(failures=1, open_seconds=60), max_attempts=9)
    publish(1)
    drain()
    pump = pump_for("handler")
    pump.round()
    with CaptureQueriesContext(connection) as statements:
        assert pump.round() == 0
    about = [s["sql"] for s in statements if "breaker_until" in s["sql"]]
    assert len(about) == 1
    assert not [sql for sql in about if "FOR NO KEY UPDATE" in sql]


@pytest.mark.django_db
def test_messages_that_are_bad_in_themselves_open_no_breaker(subscribe: Subscribe) -> None:
    def bill(message: Received[Any]) -> None:
        raise broker.Reject

    subscribe(bill, breaker=POLICY)
    publish(*range(8))
    assert drain() == 8
    assert breaker() == "closed"


def _fail(message: Received[Any]) -> None:
    raise OSError("no answer")
