"""At most once: the ack is committed before the handler runs."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from datapunk_broker import broker
from datapunk_broker.envelope import Received
from datapunk_broker.models import Subscription
from datapunk_broker.pump.deliver import deliver
from tests.engine.racing import Actors
from tests.pump.conftest import Subscribe
from tests.pump.make import attempts, claimed, dead_letters, drain, ended, owed, publish, take_away

Act = Callable[[list[Received[Any]]], None]


def fail(message: Received[Any]) -> None:
    raise ValueError(message.payload)


def handler(kind: str, act: Act) -> Callable[[Any], Any]:
    """A handler of this kind, which does this with what it gets."""

    def bill(message: Received[Any]) -> None:
        act([message])

    async def bill_later(message: Received[Any]) -> None:
        act([message])

    def bill_many(messages: list[Received[Any]]) -> None:
        act(messages)

    handlers: dict[str, Callable[[Any], Any]] = {"sync": bill, "async": bill_later, "batch": bill_many}
    return handlers[kind]


def raising(got: list[Any]) -> Act:
    """Note the payloads, and fail."""

    def act(messages: list[Received[Any]]) -> None:
        got.extend(message.payload for message in messages)
        raise ValueError

    return act


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["sync", "async", "batch"])
def test_the_ack_is_committed_before_the_handler_runs(subscribe: Subscribe, kind: str) -> None:
    seen: list[tuple[list[str], int]] = []
    elsewhere = Actors()

    def look(messages: list[Received[Any]]) -> None:
        seen.append(elsewhere.start(lambda: (ended(), len(owed()))).result(30))

    subscribe(handler(kind, look), delivery_mode="at_most_once")
    publish(1)
    drain()
    elsewhere.close()
    assert seen == [(["acked"], 0)]


@pytest.mark.django_db
def test_a_failure_leaves_an_attempt_and_no_retry(subscribe: Subscribe) -> None:
    subscribe(fail, delivery_mode="at_most_once", max_attempts=5, retry_delay=0)
    publish("odd", "even")
    assert drain() == 2
    assert (ended(), owed(), dead_letters()) == (["acked", "acked"], [], [])
    assert [(a.attempt, a.reason, a.error_message) for a in attempts()] == [
        (1, "processing_error", "odd"),
        (1, "processing_error", "even"),
    ]


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["sync", "async", "batch"])
def test_a_breaker_opens_and_what_is_still_held_goes_back(subscribe: Subscribe, kind: str) -> None:
    got: list[int] = []
    policy = broker.BreakerPolicy(failures=3, open_seconds=60)
    mode = "batch" if kind == "batch" else "individual"
    subscribe(handler(kind, raising(got)), delivery_mode="at_most_once", breaker=policy, batch_size=2, mode=mode)
    publish(*range(20))
    drain()
    burned = {"sync": 3, "async": 3, "batch": 4}[kind]
    assert sorted(got) == list(range(burned))
    assert (ended(), len(owed())) == (["acked"] * burned, 20 - burned)
    assert Subscription.objects.get(name="billing").breaker_state == "open"


@pytest.mark.django_db
def test_the_probe_of_a_breaker_closes_it_when_it_went_well_and_only_then(subscribe: Subscribe) -> None:
    policy = broker.BreakerPolicy(failures=1, open_seconds=60)
    fails = [True, True, False]

    def bill(message: Received[Any]) -> None:
        if fails.pop(0):
            raise ValueError

    subscribe(bill, delivery_mode="at_most_once", breaker=policy)
    publish(1, 2, 3)
    states = []
    for _ in range(3):
        drain()
        states.append(Subscription.objects.get(name="billing").breaker_state)
        Subscription.objects.update(breaker_until=F("breaker_until") - timedelta(hours=1))
    assert states == ["open", "open", "closed"]


@pytest.mark.django_db
def test_what_cannot_be_read_leaves_an_attempt_too(subscribe: Subscribe) -> None:
    def bill(message: Received[int]) -> None: ...

    subscribe(bill, delivery_mode="at_most_once")
    publish("one")
    drain()
    assert [attempt.reason for attempt in attempts()] == ["validation_error"]


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_failure_holds_nothing_back_for_it_does_not_come_again(subscribe: Subscribe, kind: str) -> None:
    got: list[int] = []
    subscribe(handler(kind, raising(got)), delivery_mode="at_most_once", ordering=True)
    publish(1, 2, 3, ordering_key="k")
    drain()
    assert got == [1, 2, 3]
    assert len(attempts()) == 3


@pytest.mark.django_db
def test_what_is_not_run_because_the_worker_stops_leaves_an_attempt(subscribe: Subscribe) -> None:
    def bill(message: Received[Any]) -> None:
        if message.payload == 2:
            raise SystemExit

    subscribe(bill, delivery_mode="at_most_once")
    publish(1, 2, 3)
    with pytest.raises(SystemExit):
        drain()
    assert (ended(), owed()) == (["acked"] * 3, [])
    assert [attempt.error_message for attempt in attempts()] == [
        "The worker was stopped before the message was handled."
    ] * 2


@pytest.mark.django_db
def test_a_claim_that_was_lost_is_not_run(subscribe: Subscribe) -> None:
    got: list[int] = []
    subscribe(lambda message: got.append(message.payload), delivery_mode="at_most_once")
    publish(1)
    batch = claimed()
    take_away()
    deliver(batch)
    assert got == []
