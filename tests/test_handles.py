"""Typed topics, and the options of the verbs."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from datapunk_broker import broker
from datapunk_broker.conf import BindingConfig, SubscriptionConfig, TopicConfig
from datapunk_broker.exceptions import ConfigInvalidError
from datapunk_broker.handles import PublishOptions, SubscribeOptions, config_of
from datapunk_broker.models import Subscription
from datapunk_broker.registry import registry
from datapunk_broker.states import SubscriptionMode
from datapunk_broker.testing import assert_published


@dataclass
class Order:
    id: int


def bill(message: broker.Received[Order]) -> None: ...


def bill_many(messages: list[broker.Received[Order]]) -> None: ...


@pytest.fixture
def names() -> Iterator[None]:
    known = set(registry.names())
    yield
    for name in set(registry.names()) - known:
        registry.remove(name)


def test_the_options_of_publish_are_what_a_message_has() -> None:
    assert set(PublishOptions.__annotations__) == {field.name for field in fields(broker.Outgoing)} - {"payload"}


def test_the_options_of_a_subscriber_are_what_a_handlers_subscription_has() -> None:
    ours = {"routing_key", "headers", "retry"}
    others = {"name", "topic", "handler", "transport", "endpoint_url", "secret"}
    known = {field.name for field in fields(SubscriptionConfig)}
    assert set(SubscribeOptions.__annotations__) == known - others | ours


def test_every_way_to_say_a_binding_is_one() -> None:
    given: Any = {"routing_key": "a", "headers": {"k": 1}, "bindings": [{"routing_key": "b"}]}
    assert config_of("billing", "orders", bill, given).bindings == (
        BindingConfig(routing_key="a"),
        BindingConfig(headers={"k": 1}),
        BindingConfig(routing_key="b"),
    )
    assert config_of("billing", "orders", bill, {"routing_key": None, "headers": None}).bindings == ()


def test_the_functions_name_path_and_mode_are_its_own() -> None:
    config = config_of(None, "orders", bill_many, {})
    assert (config.name, config.handler, config.mode) == (
        "bill_many",
        f"{__name__}:bill_many",
        SubscriptionMode.BATCH,
    )
    assert config_of(None, "orders", bill, {}).mode == SubscriptionMode.INDIVIDUAL


def test_a_retry_policy_is_its_options() -> None:
    policy = broker.RetryPolicy(max_attempts=7, retry_delay=2.5)
    config = config_of("billing", "orders", bill, {"retry": policy, "ack_deadline": timedelta(minutes=1)})
    assert (config.max_attempts, config.retry_delay, config.ack_deadline) == (7, 2.5, 60.0)


def test_an_unknown_option_is_named_with_what_was_meant(names: None) -> None:
    with pytest.raises(ConfigInvalidError, match="Did you mean 'max_attempts'"):
        broker.subscriber("orders", max_attempt=3)(bill)  # type: ignore[call-arg]
    assert "bill" not in registry.names()


@pytest.mark.django_db
def test_a_name_that_is_taken_by_another_function_leaves_no_row(names: None) -> None:
    broker.create_topic(TopicConfig("orders"))
    broker.subscriber("orders", name="billing")(bill)
    with pytest.raises(ConfigInvalidError, match="two handlers"):
        broker.subscribe("orders", bill_many, "billing")
    assert not Subscription.objects.filter(name="billing").exists()


@pytest.mark.django_db
def test_a_typed_topic_publishes_and_subscribes_under_its_name(names: None) -> None:
    broker.create_topic(TopicConfig("orders"))
    orders = broker.topic("orders", Order)
    orders.subscriber(name="billing")(bill)
    orders.publish(Order(7), correlation_id="c")
    orders.publish_many([broker.Outgoing(Order(8))])
    assert assert_published("orders", Order(7)).correlation_id == "c"
    assert_published("orders", {"id": 8})
    assert (str(orders), registry.find("billing").topic) == ("orders", "orders")  # type: ignore[union-attr]


@pytest.mark.django_db
def test_a_typed_topic_publishes_from_asynchronous_code() -> None:
    broker.create_topic(TopicConfig("orders"))
    orders = broker.topic("orders", Order)
    async_to_sync(orders.apublish)(Order(7), routing_key="eu")
    async_to_sync(orders.apublish_many)([broker.Outgoing(Order(8))])
    assert_published("orders", Order(7), routing_key="eu")
    assert_published("orders", Order(8))
