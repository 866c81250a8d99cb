"""Ordering: one after the other per key; a message that fails holds back its key, and no other."""

import asyncio
import threading
from collections import defaultdict
from typing import Any

import pytest

from datapunk_broker import broker
from datapunk_broker.engine.claim import claim_guarded
from datapunk_broker.engine.rows import Claimed
from datapunk_broker.envelope import Received
from datapunk_broker.pump import pace, pump_for, rounds, wake
from tests.engine.racing import Actors
from tests.pump.conftest import Subscribe
from tests.pump.make import drain, ended, make_due, owed, publish, states
from tests.shop.models import Effect

Calls = list[tuple[str | None, Any]]
MODES = ["at_least_once", "exactly_once"]


def call(message: Received[Any]) -> tuple[str | None, Any]:
    return message.ordering_key, message.payload


def publish_turn_by_turn(keys: str, numbers: range) -> None:
    for number in numbers:
        for key in keys:
            publish(number, ordering_key=key)


@pytest.mark.django_db
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["sync", "async", "batch"])
def test_a_failing_message_holds_back_its_key_and_no_other(subscribe: Subscribe, mode: str, kind: str) -> None:
    done: Calls = []

    def bill(message: Received[Any]) -> None:
        if call(message) == ("a", 1) and message.attempt == 1:
            raise OSError
        done.append(call(message))

    async def bill_later(message: Received[Any]) -> None:
        await asyncio.sleep(0)
        bill(message)

    def bill_many(messages: list[Received[Any]]) -> None:
        failures: dict[str, Exception] = {}
        for message in messages:
            try:
                bill(message)
            except OSError as error:
                failures[message.ack_id] = error
        raise broker.BatchFailures(failures)

    handlers: dict[str, Any] = {"sync": bill, "async": bill_later, "batch": bill_many}
    subscribe(handlers[kind], ordering=True, delivery_mode=mode, retry_delay=60)
    publish_turn_by_turn("ab", range(4))
    drain()
    waiting = [(delivery.ordering_key, delivery.state) for delivery in owed()]
    assert waiting == [("a", "scheduled"), ("a", "ready"), ("a", "ready")]
    assert ended() == ["acked"] * 5

    make_due()
    drain()
    assert ended() == ["acked"] * 8
    # Undone calls are called again, so a key's last calls are what counts.
    last = list(dict.fromkeys(reversed(done)))[::-1]
    assert [n for key, n in last if key == "a"] == [0, 1, 2, 3]
    assert [n for key, n in last if key == "b"] == [0, 1, 2, 3]


@pytest.mark.django_db
def test_a_key_goes_on_once_its_failing_message_is_dead(subscribe: Subscribe) -> None:
    done: list[int] = []

    def bill(message: Received[Any]) -> None:
        if message.payload == 0:
            raise broker.Reject
        done.append(message.payload)

    subscribe(bill, ordering=True)
    publish(*range(3), ordering_key="k")
    drain()
    assert done == [1, 2]
    assert sorted(ended()) == ["acked", "acked", "dead"]


@pytest.mark.django_db
def test_messages_without_a_key_wait_for_nobody(subscribe: Subscribe) -> None:
    def bill(message: Received[Any]) -> None:
        if message.payload == 0:
            raise OSError

    subscribe(bill, ordering=True, retry_delay=60)
    publish(*range(3))
    drain()
    assert (ended(), states()) == (["acked"] * 2, ["scheduled"])


@pytest.fixture
def claims(subscribe: Subscribe, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What each claim took of an ordered subscription with a key that waits; it is left alone for ages after that."""
    taken: list[int] = []

    def bill(message: Received[Any]) -> None:
        if message.payload == 0:
            raise OSError

    def noted(*args: Any, **options: Any) -> list[Claimed]:
        rows = claim_guarded(*args, **options)
        taken.append(len(rows))
        return rows

    subscribe(bill, ordering=True, retry_delay=60)
    publish(0, 1, ordering_key="k")
    drain()
    monkeypatch.setattr(rounds, "claim_guarded", noted)
    monkeypatch.setattr(pace, "REST", 1e12)
    monkeypatch.setattr(pace, "LONGEST_REST", 1e6)
    return taken


@pytest.mark.django_db
def test_a_subscription_whose_keys_all_wait_is_left_alone_for_a_while(claims: list[int]) -> None:
    pump = pump_for("handler")
    assert [pump.round() for _ in range(50)] == [0] * 50
    assert claims == [0]
    publish(2, ordering_key="other")
    assert (pump.round(), claims) == (0, [0])
    pump.wake()
    assert (pump.round(), claims) == (1, [0, 1])


@pytest.mark.django_db
def test_it_is_asked_again_when_it_has_rested(claims: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "REST", 0)
    pump = pump_for("handler")
    assert [pump.round() for _ in range(5)] == [0] * 5
    assert claims == [0] * 5


@pytest.mark.django_db
def test_others_do_not_wait_while_it_rests(claims: list[int], subscribe: Subscribe) -> None:
    subscribe(lambda message: None, "other", ordering=True)
    pump = pump_for("handler")
    pump.round()
    publish(3, ordering_key="k")
    assert pump.round() == 1
    assert (claims, ended("other")) == ([0, 1], ["acked"])


@pytest.mark.django_db
def test_a_drain_asks_everybody_each_time(claims: list[int]) -> None:
    pump = pump_for("handler")
    assert pump.round() == 0
    publish(2, ordering_key="other")
    assert pump.drain() == 1


@pytest.mark.django_db
def test_the_doorbell_ends_a_rest(claims: list[int]) -> None:
    pump = pump_for("handler")
    assert pump.round() == 0
    publish(2, ordering_key="other")
    wake("handler")
    assert pump.run(seconds=30, linger=0.05) is False
    assert claims == [0, 1, 0]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.postgresql
def test_two_pumps_keep_the_order_of_each_key_across_retries(subscribe: Subscribe, mode: str) -> None:
    lock = threading.Lock()
    under_way: set[str | None] = set()
    together: list[Any] = []
    done: dict[str | None, list[int]] = defaultdict(list)

    def bill(message: Received[Any]) -> None:
        with lock:
            if message.ordering_key in under_way:
                together.append(call(message))
            under_way.add(message.ordering_key)
        try:
            threading.Event().wait(0.001)
            if (message.payload + len(message.ordering_key or "")) % 5 == 0 and message.attempt == 1:
                raise OSError
            Effect.objects.create(value=message.payload)
            done[message.ordering_key].append(message.payload)
        finally:
            with lock:
                under_way.discard(message.ordering_key)

    subscribe(bill, ordering=True, delivery_mode=mode, retry_delay=0, max_attempts=3)
    publish_turn_by_turn("abcdef", range(20))
    actors = Actors()
    pumps = [actors.start(lambda: pump_for("handler").run(seconds=30, linger=0.5)) for _ in range(2)]
    assert [pump.result(40) for pump in pumps] == [False, False]
    actors.close()
    assert together == []
    assert (owed(), ended()) == ([], ["acked"] * 120)
    assert Effect.objects.count() == 120
    if mode == "at_least_once":
        assert dict(done) == {key: list(range(20)) for key in "abcdef"}
