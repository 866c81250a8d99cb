"""What a subscriber's own type makes of a payload may raise anything: it is that message's failure, and no other's."""

from dataclasses import dataclass
from typing import Any

import pytest

from datapunk_broker import broker, signals
from datapunk_broker.conf import TopicConfig
from datapunk_broker.envelope import Received
from datapunk_broker.pump import deliver_live
from tests.pump.conftest import Subscribe
from tests.pump.make import acked, attempts, dead_letters, drain, publish

pytestmark = pytest.mark.django_db


@dataclass
class Odd:
    """Raises what no reader of JSON expects."""

    value: int

    def __post_init__(self) -> None:
        raise KeyError(self.value)


class Plain:
    """Nothing that JSON can be read as."""


def odd(message: Received[Odd]) -> None: ...


def plain(message: Received[Plain]) -> None: ...


@pytest.mark.parametrize("handler", [odd, plain])
def test_a_type_that_cannot_be_made_fails_its_message_and_no_other_subscription(
    subscribe: Subscribe, handler: Any
) -> None:
    subscribe(handler, "odd", max_attempts=1)
    subscribe(lambda message: None)
    published = publish({"value": 1})
    drain()
    assert acked() == set(published)
    assert len(dead_letters("odd")) == 1
    assert attempts("odd")[0].error_class in {"KeyError", "datapunk_broker.exceptions.ConfigInvalidError"}


def test_of_a_message_that_is_stored_nowhere_the_others_get_theirs(
    subscribe: Subscribe, django_capture_on_commit_callbacks: Any
) -> None:
    got: list[Any] = []
    wires: list[Any] = []
    failed: list[str] = []
    broker.create_topic(TopicConfig("ticks", persistent=False))
    subscribe(odd, "odd", topic="ticks")
    subscribe(lambda message: got.append(message.payload), "billing", topic="ticks")

    def take(messages: Any, **_: Any) -> None:
        wires.extend(messages)

    def fail(error_class: str, where: str, **_: Any) -> None:
        failed.append(f"{error_class} {where.rpartition(' in ')[2]}")

    signals.published_live.connect(take)
    signals.attempt_failed.connect(fail)
    with django_capture_on_commit_callbacks(execute=True):
        broker.publish("ticks", {"value": 1})
    deliver_live(wires[0])
    signals.published_live.disconnect(take)
    signals.attempt_failed.disconnect(fail)
    assert got == [{"value": 1}]
    assert failed == ["KeyError __post_init__"]
