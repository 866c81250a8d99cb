"""Suspects: each is called alone, subscriptions take turns, and a busy pump gives them a share of its time."""

from collections.abc import Callable
from typing import Any

import pytest

from datapunk_broker.envelope import Received
from datapunk_broker.models import Delivery
from datapunk_broker.pump import pace, pump_for, rounds
from datapunk_broker.pump.pace import IDLE, SUSPECTS_SHARE, Allowance
from tests.pump.conftest import Subscribe
from tests.pump.make import ended, ids, publish

pytestmark = pytest.mark.django_db

AGES = 1e6


def suspect(count: int, name: str = "billing") -> None:
    """The subscription's alone has so many suspects."""
    publish(*range(count), routing_key=name)
    Delivery.objects.filter(subscription__in=ids(name)).update(lapses=1)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "IDLE", Allowance(AGES))


@pytest.fixture
def generous(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "SUSPECTS_SHARE", AGES)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """What each look for suspects found; none is made just because it is time, but for the first."""
    found: list[set[int]] = []
    look = rounds.with_suspects

    def noted(subscriptions: Any, *, using: str) -> set[int]:
        found.append(look(subscriptions, using=using))
        return found[-1]

    monkeypatch.setattr(rounds, "with_suspects", noted)
    monkeypatch.setattr(rounds, "LOOK_EVERY", AGES)
    return found


@pytest.fixture
def subscribed(subscribe: Subscribe) -> Callable[..., list[tuple[str, int]]]:
    """Subscribes batches by name; the calls are (name, size)."""

    def subscribed(*names: str, **options: Any) -> list[tuple[str, int]]:
        calls: list[tuple[str, int]] = []

        def bill(messages: list[Received[Any]]) -> None:
            calls.append((messages[0].subscription, len(messages)))

        for name in names:
            subscribe(bill, name, bindings=[{"routing_key": name}], batch_size=100, **options)
        return calls

    return subscribed


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("options", [{}, {"max_in_flight": 50}, {"ordering": True}])
def test_an_idle_pump_calls_all_of_them_in_a_round_each_alone(subscribed: Any, options: dict[str, Any]) -> None:
    calls = subscribed("billing", **options)
    suspect(20)
    assert pump_for("handler").round() == 20
    assert calls == [("billing", 1)] * 20
    assert ended() == ["acked"] * 20


@pytest.mark.usefixtures("unhurried")
def test_subscriptions_take_turns(subscribed: Any) -> None:
    calls = subscribed("a", "b", "c")
    for name, count in (("a", 4), ("b", 1), ("c", 2)):
        suspect(count, name)
    pump_for("handler").round()
    assert "".join(name for name, _ in calls) == "abcacaa"


def test_they_take_turns_from_round_to_round(subscribed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "IDLE", Allowance(1e-9))
    calls = subscribed("a", "b")
    suspect(6, "a")
    suspect(2, "b")
    pump = pump_for("handler")
    assert [pump.round() for _ in range(9)] == [1] * 8 + [0]
    assert "".join(name for name, _ in calls) == "ababaaaa"


@pytest.mark.usefixtures("generous")
@pytest.mark.parametrize("options", [{}, {"max_in_flight": 50}])
def test_traffic_that_goes_on_does_not_starve_them(subscribed: Any, looks: Any, options: dict[str, Any]) -> None:
    calls = subscribed("billing", **options)
    suspect(20)
    publish(*range(4), routing_key="billing")
    assert pump_for("handler").round() == 24
    assert calls == [("billing", 4)] + [("billing", 1)] * 20
    assert len(looks) == 1


def test_a_busy_pump_whose_suspects_took_more_than_their_share_works_first(
    subscribed: Any, looks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "SUSPECTS_SHARE", 1e-9)
    subscribed("billing")
    suspect(3)
    pump = pump_for("handler")
    done = []
    for _ in range(3):
        publish(1, routing_key="billing")
        done.append(pump.round())
    assert (done, len(looks)) == ([2, 1, 1], 1)


def test_a_busy_pump_without_any_does_not_look_each_round(subscribed: Any, looks: Any) -> None:
    subscribed("billing")
    pump = pump_for("handler")
    for _ in range(20):
        publish(1, routing_key="billing")
        assert pump.round() == 1
    assert looks == [set()]


@pytest.mark.usefixtures("unhurried", "looks")
def test_what_they_take_says_nothing_of_the_pace(subscribe: Subscribe) -> None:
    subscribe(lambda message: None)
    pump = pump_for("handler")
    done = []
    for count in (4, 16):
        publish(*range(count))
        done.append(pump.round())
    suspect(5)
    done.append(pump.round())
    publish(*range(100))
    done.append(pump.round())
    assert done == [4, 16, 5, 64]


def test_they_may_take_a_share_of_what_work_took() -> None:
    allowed = Allowance().after_work(10.0)
    assert allowed.seconds == 10 * SUSPECTS_SHARE
    assert allowed.after_suspects(1.0, left=True).seconds == allowed.seconds - 1


def test_what_they_take_beyond_it_is_worked_off_first() -> None:
    allowed = Allowance().after_work(10.0).after_suspects(31.5, left=True)
    assert allowed.seconds == -30
    assert allowed.after_work(100.0).seconds < 0 < allowed.after_work(201.0).seconds


def test_what_nobody_needs_is_not_kept() -> None:
    assert Allowance(5.0).after_suspects(0.1, left=False).seconds == 0
    assert Allowance(1.0).after_suspects(3.0, left=False).seconds == -2
    assert IDLE.seconds > 0
