"""What cannot be meant is refused by an error of the broker's own, and the caller's transaction goes on."""

from collections.abc import Callable
from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from datapunk_broker import broker
from datapunk_broker.conf import TopicConfig
from datapunk_broker.exceptions import (
    BrokerError,
    ConfigInvalidError,
    PayloadInvalidError,
    SubscriptionNotFoundError,
    TopicNotFoundError,
)
from datapunk_broker.models import Topic

pytestmark = pytest.mark.django_db

NO_NAMES = ["a\0b", "a\ud800", "", "a b", "é", "a" * 201, "orders\n", 7, None]

OF_TOPICS: list[Callable[[Any], Any]] = [
    lambda name: broker.publish(name, 1),
    lambda name: broker.publish_many(name, [broker.Outgoing(1)]),
    broker.explain,
    broker.read_stream,
    broker.stream_ends,
    lambda name: broker.update_topic(name, {"stream": False}),
    broker.delete_topic,
]

OF_SUBSCRIPTIONS: list[Callable[[Any], Any]] = [
    broker.pull,
    broker.pause,
    broker.resume,
    lambda name: broker.seek(name, 0),
    lambda name: broker.audit(name or "a\0b"),
    lambda name: broker.update_subscription(name, {"ordering": True}),
    broker.delete_subscription,
    broker.unsubscribe,
]


def goes_on() -> None:
    assert Topic.objects.count() == 1


@pytest.fixture(autouse=True)
def topic() -> None:
    broker.create_topic(TopicConfig("orders"))


@pytest.mark.parametrize("name", NO_NAMES)
@pytest.mark.parametrize(
    ("verb", "error"),
    [*product(OF_TOPICS, [TopicNotFoundError]), *product(OF_SUBSCRIPTIONS, [SubscriptionNotFoundError])],
)
def test_nothing_is_called_what_is_no_name(verb: Callable[[Any], Any], error: type[BrokerError], name: Any) -> None:
    with pytest.raises(error):
        verb(name)
    goes_on()


@pytest.mark.parametrize("name", ["a\0b", "a\ud800"])
def test_what_is_asked_of_many_names_leaves_out_those_that_are_none(name: str) -> None:
    assert list(broker.stream_heads([name, "orders"])) == ["orders"]
    assert broker.MessageBroker().with_messages([name]) == set()
    for field in ("subscription", "topic"):
        assert broker.redrive({field: name}).count == broker.discard({field: name}) == 0
    goes_on()


DURATIONS = [float("inf"), float("nan"), 1e20, -1, "5", timedelta.max, True]


@pytest.mark.parametrize("duration", DURATIONS)
def test_a_duration_that_is_none_is_refused_by_the_arguments_name(duration: Any) -> None:
    with pytest.raises(ConfigInvalidError, match=r"^by: must be seconds from 0 to"):
        broker.extend(["x"], by=duration)
    with pytest.raises(ConfigInvalidError, match=r"^delay: must be seconds from 0 to"):
        broker.nack(["x"], delay=duration)


def test_durations_may_be_seconds_or_a_timedelta() -> None:
    for duration in (0, 1.5, timedelta(days=7)):
        assert broker.extend(["x"], by=duration).lost == broker.nack(["x"], delay=duration).lost == ("x",)
    with pytest.raises(ConfigInvalidError, match=r"^by: .*7 days"):
        broker.extend(["x"], by=timedelta(days=8))


@pytest.mark.parametrize("count", ["5", 0, 1001, 2.5, None, True])
def test_a_number_of_messages_that_is_none_is_refused(count: Any) -> None:
    with pytest.raises(ConfigInvalidError, match=r"^max_messages: must be a whole number from 1 to 1000"):
        broker.pull("billing", max_messages=count)


@pytest.mark.parametrize(("argument", "value"), [("after", "x"), ("after", None), ("limit", "x"), ("limit", 2.5)])
def test_a_position_or_limit_that_is_none_is_refused(argument: str, value: Any) -> None:
    with pytest.raises(PayloadInvalidError, match=f"^{argument}: .* whole number"):
        broker.read_stream("orders", **{argument: value})


@pytest.mark.parametrize("messages", [[{"a": 1}], [broker.Outgoing(1), 2], "ab", {"a": 1}, 7])
def test_messages_that_are_not_wrapped_are_refused_with_how_they_should_be(messages: Any) -> None:
    with pytest.raises(PayloadInvalidError, match=r"^messages: must each be an Outgoing\(payload"):
        broker.publish_many("orders", messages)
    goes_on()
