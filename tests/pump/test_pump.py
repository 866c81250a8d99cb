"""The pump: it goes on while there is work, waits a little for more, and then ends."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.engine import roster
from datapunk_broker.models import Standby, StreamEntry, Subscription
from datapunk_broker.pump import Pump, pump, pump_for, stopping, wake
from datapunk_broker.registry import registry
from tests.engine.racing import LONGEST, Actors
from tests.pump.conftest import Subscribe
from tests.pump.make import drain, ended, publish, states

committed = pytest.mark.django_db(transaction=True)


@pytest.fixture
def actors() -> Iterator[Actors]:
    actors = Actors()
    yield actors
    stopping.set()
    for transport in ("handler", "stream"):
        wake(transport)
    actors.close()
    stopping.clear()


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + LONGEST
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        threading.Event().wait(0.005)


@pytest.mark.django_db
def test_a_pump_ends_when_nothing_was_due_for_a_while(topic: str) -> None:
    assert pump_for("handler").run(seconds=30, linger=0.02) is False


@pytest.mark.django_db
def test_a_pump_whose_time_is_up_says_that_there_may_be_more(subscribe: Subscribe) -> None:
    subscribe(lambda message: broker.publish("orders", message.payload + 1))
    publish(0)
    assert pump_for("handler").run(seconds=0.2) is True
    assert len(ended()) > 1
    assert "ready" in states()


@pytest.mark.django_db
def test_a_pump_that_is_told_to_stop_says_that_there_may_be_more(topic: str) -> None:
    stopping.set()
    try:
        assert pump_for("handler").run() is True
    finally:
        stopping.clear()


@pytest.mark.django_db
def test_a_pump_sweeps_while_it_works(subscribe: Subscribe) -> None:
    subscribe(lambda message: None)
    publish(1)
    publish(2, delay=timedelta(milliseconds=50))
    assert pump_for("handler").run(seconds=30, linger=1.5) is False
    assert ended() == ["acked", "acked"]


@committed
@pytest.mark.postgresql
def test_of_two_idle_pumps_one_waits_and_the_other_ends(topic: str, actors: Actors) -> None:
    first = actors.start(pump_for("handler").run)
    until(Standby.objects.exists)
    assert actors.start(pump_for("handler").run).result(LONGEST) is False
    assert not first.done()
    # Each transport has a standby of its own.
    stream = actors.start(pump_for("stream").run)
    until(lambda: Standby.objects.count() == 2)
    assert not stream.done()


@committed
@pytest.mark.postgresql
def test_the_standby_stands_down_when_it_ends_so_that_the_next_may_wait(topic: str, actors: Actors) -> None:
    assert actors.start(lambda: pump_for("handler").run(linger=0.02)).result(LONGEST) is False
    second: Future[Any] = actors.start(pump_for("handler").run)
    until(lambda: Standby.objects.filter(transport="handler").exists())
    threading.Event().wait(0.2)
    assert not second.done()


@committed
@pytest.mark.postgresql
def test_a_waiting_pump_that_is_woken_goes_on_at_once(
    subscribe: Subscribe, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "POLL", 4 * LONGEST)
    subscribe(lambda message: None)
    actors.start(pump_for("handler").run)
    until(Standby.objects.exists)
    threading.Event().wait(0.1)
    publish(1)
    wake("stream")  # another transport's
    wake("handler")
    until(ended)


@committed
@pytest.mark.postgresql
def test_subscriptions_come_pause_and_go_while_a_pump_runs(
    subscribe: Subscribe, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roster, "MAX_AGE", 0.05)
    got: list[Any] = []

    def bill(message: Any) -> None:
        got.append((message.subscription, message.payload))

    actors.start(lambda: pump_for("handler").run(seconds=LONGEST, linger=LONGEST))
    subscribe(bill)
    publish(1)
    until(lambda: got == [("billing", 1)])

    subscribe(bill, "late")
    publish(2)
    until(lambda: sorted(got[1:]) == [("billing", 2), ("late", 2)])

    broker.pause("billing")
    publish(3)
    until(lambda: got[3:] == [("late", 3)])
    assert states() == ["ready"]

    broker.resume("billing")
    until(lambda: got[4:] == [("billing", 3)])

    broker.unsubscribe("late")
    publish(4)
    until(lambda: got[5:] == [("billing", 4)])


@pytest.mark.django_db
def test_a_pause_is_seen_by_a_pump_that_knew_the_subscription_as_active(subscribe: Subscribe) -> None:
    subscribe(lambda message: None)
    knowing = pump_for("handler")
    assert knowing.round() == 0
    broker.pause("billing")
    publish(1)
    assert knowing.drain() == 0
    assert states() == ["ready"]
    broker.resume("billing")
    assert knowing.drain() == 1


@pytest.mark.django_db
def test_what_this_process_has_no_handler_for_is_left_to_others(subscribe: Subscribe) -> None:
    subscribe(lambda message: None)
    broker.create_subscription(SubscriptionConfig("elsewhere", "orders", handler="nowhere.to:be_found"))
    publish(1)
    assert drain() == 1
    assert states("elsewhere") == ["ready"]


@pytest.mark.django_db
def test_a_handler_is_found_by_the_path_stored_with_its_subscription(topic: str) -> None:
    broker.create_subscription(SubscriptionConfig("billing", "orders", handler="tests.shop.subscribers:bill"))
    publish(7)
    assert drain() == 1
    assert "billing" not in registry.names()
    assert ended() == ["acked"]


@pytest.mark.django_db
def test_a_handler_that_is_gone_by_the_time_it_is_called_harms_nothing(subscribe: Subscribe) -> None:
    subscribe(lambda message: None)
    knowing = pump_for("handler")
    assert knowing.round() == 0
    publish(1)
    registry.remove("billing")
    with pytest.raises(broker.BrokerError):
        knowing.round()
    assert states() == ["ready"]


@pytest.mark.django_db
def test_a_pump_of_streams_appends() -> None:
    broker.create_topic(TopicConfig("ticks"))
    publish(1, 2, topic="ticks")
    assert pump_for("stream").drain() == 2
    assert list(StreamEntry.objects.order_by("position").values_list("position", flat=True)) == [1, 2]


@pytest.mark.django_db
def test_each_subscription_has_its_share_of_a_round(subscribe: Subscribe) -> None:
    got: list[str] = []
    for name in ("a", "b"):
        subscribe(lambda message: got.append(message.subscription), name, bindings=[{"routing_key": name}])
    publish(*range(100), routing_key="a")
    publish(*range(100), routing_key="b")
    pump_for("handler").round()
    assert sorted(set(got)) == ["a", "b"]
    assert Subscription.objects.count() == 2


def test_a_pump_is_given_its_work() -> None:
    work = iter([3, 2, 0])
    assert Pump("handler", lambda: next(work), using="default").drain() == 5
