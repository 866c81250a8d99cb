"""What topics and subscriptions may not promise at once."""

from dataclasses import replace
from typing import Any

import pytest

from datapunk_broker.conf import (
    BindingConfig,
    BrokerConfig,
    SubscriptionConfig,
    TopicConfig,
    check_subscription,
    check_topic,
)
from datapunk_broker.exceptions import (
    BindingInvalidError,
    ConfigInvalidError,
    DeliveryModeInvalidError,
    NotPersistentError,
)
from datapunk_broker.states import (
    DeliveryMode,
    TopicType,
    Transport,
)

CONFIG = BrokerConfig()


def subscription(**options: Any) -> SubscriptionConfig:
    return SubscriptionConfig("billing", "orders", **options)


def webhook(**options: Any) -> SubscriptionConfig:
    return subscription(transport=Transport.WEBHOOK, endpoint_url="https://example.com/hook", **options)


def test_a_schema_that_is_none_is_refused_before_a_message_meets_it() -> None:
    check_topic(TopicConfig("orders", schema={"type": "object"}))
    with pytest.raises(ConfigInvalidError, match=r"^schema: "):
        check_topic(TopicConfig("orders", schema={"type": "objekt"}))


def test_a_topic_is_not_its_own_dead_letter_topic() -> None:
    check_topic(TopicConfig("orders", dead_letter_topic="graveyard"))
    with pytest.raises(ConfigInvalidError, match=r"^dead_letter_topic: "):
        check_topic(TopicConfig("orders", dead_letter_topic="orders"))


def test_a_topic_that_stores_nothing_promises_at_most_once_alone() -> None:
    check_topic(TopicConfig("pulse", persistent=False))
    check_topic(TopicConfig("pulse", persistent=False, delivery_mode=DeliveryMode.AT_MOST_ONCE))
    for mode in (DeliveryMode.AT_LEAST_ONCE, DeliveryMode.EXACTLY_ONCE):
        with pytest.raises(DeliveryModeInvalidError, match=f"stores no messages.*{mode}"):
            check_topic(TopicConfig("pulse", persistent=False, delivery_mode=mode))


@pytest.mark.parametrize(
    "options",
    [{"ack_deadline": 14}, {"timeout": 31}, {"ack_deadline": 5, "timeout": 6}],
)
@pytest.mark.parametrize("make", [subscription, webhook])
def test_a_lease_shorter_than_the_timeout_is_refused(make: Any, options: dict[str, float]) -> None:
    with pytest.raises(ConfigInvalidError, match="run twice") as refused:
        check_subscription(make(**options), CONFIG)
    assert refused.value.field == "ack_deadline"


def test_a_lease_as_long_as_the_timeout_is_enough() -> None:
    check_subscription(subscription(ack_deadline=15), CONFIG)
    check_subscription(subscription(timeout=30), CONFIG)
    check_subscription(subscription(ack_deadline=4), replace(CONFIG, timeout=4))


def test_who_pulls_has_no_timeout_so_any_lease_will_do() -> None:
    check_subscription(subscription(transport=Transport.PULL, ack_deadline=1), CONFIG)


def test_a_webhook_cannot_be_exactly_once_whoever_asks_for_it() -> None:
    exactly = DeliveryMode.EXACTLY_ONCE
    strict = replace(CONFIG, delivery_mode=exactly)
    for given in (
        (webhook(delivery_mode=exactly), CONFIG),
        (webhook(), CONFIG, TopicConfig("orders", delivery_mode=exactly)),
        (webhook(), strict),
        (webhook(), strict, TopicConfig("orders")),
    ):
        with pytest.raises(DeliveryModeInvalidError, match="webhook-id"):
            check_subscription(*given)


def test_the_nearest_delivery_mode_decides_for_a_webhook() -> None:
    strict = replace(CONFIG, delivery_mode=DeliveryMode.EXACTLY_ONCE)
    least = DeliveryMode.AT_LEAST_ONCE
    check_subscription(webhook(delivery_mode=least), strict, TopicConfig("orders"))
    check_subscription(webhook(), strict, TopicConfig("orders", delivery_mode=least))
    check_subscription(subscription(delivery_mode="exactly_once"), CONFIG)
    check_subscription(subscription(delivery_mode="exactly_once", transport="pull"), CONFIG)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"transport": "stream"}, "transport"),
        ({"transport": "webhook"}, "endpoint_url"),
        ({"transport": "webhook", "endpoint_url": ""}, "endpoint_url"),
        ({"endpoint_url": "https://example.com"}, "endpoint_url"),
        ({"transport": "pull", "secret": "whsec_x"}, "secret"),
        ({"transport": "pull", "handler": "a:b"}, "handler"),
        ({"batch_window": 2}, "batch_window"),
        ({"mode": "streaming"}, "mode"),
        ({"transport": "pull", "mode": "streaming"}, "mode"),
        ({"transport": "webhook", "endpoint_url": "https://example.com", "mode": "batch"}, "mode"),
    ],
)
def test_options_that_exclude_each_other_are_refused(options: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigInvalidError) as refused:
        check_subscription(subscription(**options), CONFIG)
    assert refused.value.field == field


def test_the_mode_that_is_not_there_yet_is_refused_with_what_there_is() -> None:
    with pytest.raises(ConfigInvalidError, match="the topic's stream"):
        check_subscription(subscription(mode="streaming"), CONFIG)


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "batch", "batch_window": 2, "batch_size": 1000, "ordering": True, "max_in_flight": 1},
        {"ordering": True, "batch_window": 0, "endpoint_url": "", "max_attempts": 1, "jitter": 1},
    ],
)
def test_options_that_go_together_are_taken(options: dict[str, Any]) -> None:
    check_subscription(subscription(**options), CONFIG)


@pytest.mark.parametrize(
    ("binding", "kind"),
    [
        (BindingConfig(), None),
        (BindingConfig(routing_key="a", headers={}), None),
        (BindingConfig(routing_key="\x00"), None),
        (BindingConfig(routing_key="x" * 256), None),
        (BindingConfig(headers={"x-match": "some"}), None),
        (BindingConfig(routing_key="a"), TopicType.FANOUT),
        (BindingConfig(routing_key="a"), TopicType.HEADERS),
        (BindingConfig(headers={"a": 1}), TopicType.TOPIC),
    ],
)
def test_a_binding_that_no_message_can_be_held_against_is_refused(
    binding: BindingConfig, kind: TopicType | None
) -> None:
    topic = TopicConfig("orders", type=kind) if kind else None
    with pytest.raises(BindingInvalidError):
        check_subscription(subscription(bindings=[binding]), CONFIG, topic)


def test_a_binding_is_held_against_the_type_its_topic_inherits() -> None:
    by_key = subscription(bindings=[{"routing_key": "eu.*"}])
    check_subscription(by_key, CONFIG)
    check_subscription(by_key, replace(CONFIG, topic_type=TopicType.TOPIC), TopicConfig("orders"))
    with pytest.raises(BindingInvalidError):
        check_subscription(by_key, CONFIG, TopicConfig("orders"))


@pytest.mark.parametrize(
    "options",
    [
        {"transport": "pull"},
        {"transport": "webhook", "endpoint_url": "https://example.com"},
        {"ordering": True},
        {"delivery_mode": "at_least_once"},
    ],
)
def test_a_topic_that_stores_nothing_cannot_give_what_needs_storage(options: dict[str, Any]) -> None:
    wanted = subscription(**options)
    check_subscription(wanted, CONFIG, TopicConfig("orders"))
    with pytest.raises(NotPersistentError):
        check_subscription(wanted, CONFIG, TopicConfig("orders", persistent=False))
    with pytest.raises(NotPersistentError):
        check_subscription(wanted, replace(CONFIG, enable_persistence=False), TopicConfig("orders"))


def test_a_topic_that_stores_nothing_has_plain_handlers() -> None:
    check_subscription(subscription(), CONFIG, TopicConfig("orders", persistent=False))
