"""Topics and subscriptions as they are declared: what is accepted, and what it becomes."""

import json
from datetime import timedelta
from typing import Any

import pytest

from datapunk_broker.breaker import BreakerPolicy
from datapunk_broker.conf import (
    BindingConfig,
    BrokerConfig,
    SubscriptionConfig,
    TopicConfig,
    problems,
)
from datapunk_broker.exceptions import (
    ConfigInvalidError,
)
from datapunk_broker.states import (
    Overflow,
    RetryStrategy,
    SubscriptionMode,
    TopicType,
    Transport,
)


def subscription(**options: Any) -> SubscriptionConfig:
    return SubscriptionConfig("billing", "orders", **options)


def webhook(**options: Any) -> SubscriptionConfig:
    return subscription(transport=Transport.WEBHOOK, endpoint_url="https://example.com/hook", **options)


def test_topics_and_subscriptions_are_declared_as_dataclasses_or_dicts() -> None:
    config = BrokerConfig.from_settings(
        {
            "TOPICS": [TopicConfig("orders", type=TopicType.TOPIC), {"name": "audit", "retention_hours": 48}],
            "SUBSCRIPTIONS": [
                {"name": "billing", "topic": "orders", "bindings": [{"routing_key": "eu.*"}]},
                SubscriptionConfig("log", "audit", transport=Transport.PULL),
            ],
        },
    )
    assert config.topics == (
        TopicConfig("orders", type=TopicType.TOPIC),
        TopicConfig("audit", retention_hours=48),
    )
    assert config.subscriptions == (
        SubscriptionConfig("billing", "orders", bindings=(BindingConfig(routing_key="eu.*"),)),
        SubscriptionConfig("log", "audit", transport=Transport.PULL),
    )


def test_a_declaration_takes_words_for_enums() -> None:
    topic = TopicConfig("orders", type="headers", overflow="dead_letter_oldest")  # type: ignore[arg-type]
    assert topic.type is TopicType.HEADERS
    assert topic.overflow is Overflow.DEAD_LETTER_OLDEST
    config = subscription(mode="batch", transport="pull", retry_strategy="fixed", ack_deadline=timedelta(minutes=1))
    assert config.mode is SubscriptionMode.BATCH
    assert config.transport is Transport.PULL
    assert config.retry_strategy is RetryStrategy.FIXED
    assert config.ack_deadline == 60.0


def test_none_inherits_and_is_refused_where_there_is_nothing_to_inherit() -> None:
    assert TopicConfig("orders").type is None
    assert subscription().breaker is None
    with pytest.raises(ConfigInvalidError, match=r"^stream: "):
        TopicConfig("orders", stream=None)  # type: ignore[arg-type]
    with pytest.raises(ConfigInvalidError, match=r"^transport: "):
        subscription(transport=None)


@pytest.mark.parametrize(
    ("key", "given", "field"),
    [
        ("TOPICS", [{"name": "a"}, {"name": "b", "tpye": "topic"}], "TOPICS[1].tpye"),
        ("TOPICS", [{"type": "topic"}], "TOPICS[0].name"),
        ("TOPICS", ["orders"], "TOPICS[0]"),
        ("SUBSCRIPTIONS", [{"name": "a", "topic": "b", "max_attempts": 0}], "SUBSCRIPTIONS[0].max_attempts"),
        ("SUBSCRIPTIONS", [{"name": "a"}], "SUBSCRIPTIONS[0].topic"),
        ("SUBSCRIPTIONS", [{"name": "a", "topic": "b", "bindings": "#"}], "SUBSCRIPTIONS[0].bindings"),
        ("SUBSCRIPTIONS", [{"name": "a", "topic": "b", "bindings": ["#"]}], "SUBSCRIPTIONS[0].bindings[0]"),
        ("SUBSCRIPTIONS", [{"name": "a", "topic": "b", "breaker": {"failures": 0, "open_seconds": 1}}],
         "SUBSCRIPTIONS[0].breaker.failures"),
    ],
)  # fmt: skip
def test_a_wrong_option_of_a_declaration_is_named_by_its_path(key: str, given: list[Any], field: str) -> None:
    with pytest.raises(ConfigInvalidError) as refused:
        BrokerConfig.from_settings({key: given})
    assert refused.value.field == field
    assert field in [problem.key for problem in problems({key: given})]


def test_an_unknown_option_says_what_was_meant() -> None:
    with pytest.raises(ConfigInvalidError, match=r"^tpye: is no option of a topic\. Did you mean 'type'\?$"):
        TopicConfig.from_dict({"name": "orders", "tpye": "topic"})
    with pytest.raises(ConfigInvalidError, match=r"Did you mean 'max_in_flight'\?$"):
        SubscriptionConfig.from_dict({"name": "a", "topic": "b", "max_inflight": 1})


@pytest.mark.parametrize("name", ["", "a b", "stream:orders", "ä", "a/b", "x" * 201, "a\n", None, 7])
def test_a_name_outside_the_alphabet_is_refused(name: Any) -> None:
    with pytest.raises(ConfigInvalidError, match=r"^name: "):
        TopicConfig(name)
    with pytest.raises(ConfigInvalidError, match=r"^topic: "):
        SubscriptionConfig("billing", name)
    with pytest.raises(ConfigInvalidError, match=r"^name: "):
        SubscriptionConfig(name, "orders")


@pytest.mark.parametrize("name", ["a", "x" * 200, "eu.orders_v2-final", "-", "007"])
def test_a_name_inside_the_alphabet_is_taken(name: str) -> None:
    assert TopicConfig(name).name == name


@pytest.mark.parametrize("schema", [{"type": "object"}, {"const": "\\u0000"}, {}, True, False])
def test_a_schema_is_an_object_or_a_bool(schema: Any) -> None:
    assert TopicConfig("orders", schema=schema).schema == schema


@pytest.mark.parametrize(
    "schema",
    [
        "object",
        [],
        1,
        {"const": "\x00"},
        {"const": "\ud800"},
        {"const": float("nan")},
        {"const": {1: object()}},
    ],
)
def test_any_other_schema_is_refused(schema: Any) -> None:
    with pytest.raises(ConfigInvalidError, match=r"^schema: "):
        TopicConfig("orders", schema=schema)


@pytest.mark.parametrize("path", ["shop.subscribers", "os.system('x'):y", "a:b c", ":f", "a:", "a" * 499 + ":f"])
def test_a_handler_path_is_a_module_and_a_function(path: str) -> None:
    with pytest.raises(ConfigInvalidError, match=r"^handler: "):
        subscription(handler=path)


def test_a_declaration_is_json_and_reads_back_as_itself() -> None:
    config = subscription(
        bindings=[{"routing_key": ""}, {"headers": {"x-match": "any", "tier": None}}],
        mode=SubscriptionMode.BATCH,
        delivery_mode="exactly_once",
        breaker=BreakerPolicy(failures=3, open_seconds=60),
        timeout=20,
        handler="shop.subscribers:bill",
    )
    stored = json.loads(json.dumps(config.as_declaration()))
    assert stored["bindings"] == [{"routing_key": ""}, {"headers": {"x-match": "any", "tier": None}}]
    assert stored["breaker"] == {"failures": 3, "open_seconds": 60}
    assert (stored["mode"], stored["delivery_mode"], stored["timeout"]) == ("batch", "exactly_once", 20.0)
    assert SubscriptionConfig.from_dict(stored) == config
    topic = TopicConfig("orders", type=TopicType.TOPIC, schema={"type": "object"}, stream=False)
    assert TopicConfig.from_dict(json.loads(json.dumps(topic.as_declaration()))) == topic


def test_a_secret_is_neither_declared_nor_shown() -> None:
    config = webhook(secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert "secret" not in config.as_declaration()
    assert "whsec" not in repr(config)
    with pytest.raises(ConfigInvalidError) as refused:
        webhook(secret="whsec_\x00")
    assert "whsec" not in str(refused.value)


def test_a_subscription_may_turn_an_inherited_breaker_off() -> None:
    config = subscription(breaker=False)
    assert config.breaker is False
    assert SubscriptionConfig.from_dict(config.as_declaration()) == config
