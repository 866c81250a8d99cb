"""Settings: what is accepted, what it becomes, and when they are read."""

from dataclasses import FrozenInstanceError, fields
from datetime import timedelta
from ipaddress import ip_network

import pytest
from django.test import override_settings

from datapunk_broker.breaker import BreakerPolicy
from datapunk_broker.conf import (
    KEYS,
    BrokerConfig,
    Problem,
    TopicConfig,
    get_config,
    problems,
)
from datapunk_broker.conf.settings import SETTINGS_READERS
from datapunk_broker.exceptions import (
    ConfigInvalidError,
)
from datapunk_broker.retry import RetryPolicy
from datapunk_broker.states import (
    DeliveryMode,
    Overflow,
    RetryStrategy,
    TopicType,
)

DEFAULTS = {
    "DELIVERY_MODE": "at_least_once",
    "TOPIC_TYPE": "fanout",
    "MAX_MESSAGE_SIZE": 1048576,
    "ENABLE_PERSISTENCE": True,
    "ENABLE_COMPRESSION": True,
    "COMPRESSION_THRESHOLD": 1024,
    "MAX_ATTEMPTS": 3,
    "RETRY_STRATEGY": "exponential",
    "RETRY_DELAY": 1.0,
    "BACKOFF_FACTOR": 2.0,
    "MAX_RETRY_DELAY": 30.0,
    "JITTER": 0.1,
    "ENABLE_DLQ": True,
    "DEAD_LETTER_RETENTION_HOURS": 168,
    "RETENTION_HOURS": 24,
    "CLEANUP_INTERVAL": 3600,
    "MAX_QUEUE_SIZE": 0,
    "OVERFLOW": "reject",
    "MAX_SUBSCRIBERS": 100,
    "BATCH_SIZE": 100,
    "ACK_DEADLINE": 30,
    "TIMEOUT": 15,
    "BREAKER": None,
    "THROTTLE": None,
    "PUBLIC_METRICS": False,
    "DATABASE": "default",
    "WEBHOOK_ALLOWED_NETWORKS": (),
    "TOPICS": (),
    "SUBSCRIPTIONS": (),
}


def test_an_empty_dict_gives_the_published_defaults() -> None:
    config = BrokerConfig.from_settings({})
    assert {field.name.upper(): getattr(config, field.name) for field in fields(config)} == DEFAULTS


def test_every_default_is_accepted_when_it_is_written_out() -> None:
    assert BrokerConfig.from_settings(DEFAULTS) == BrokerConfig()
    assert problems(DEFAULTS) == []


def test_words_become_enums_and_lists_become_tuples() -> None:
    config = BrokerConfig.from_settings(
        {
            "DELIVERY_MODE": "exactly_once",
            "TOPIC_TYPE": "topic",
            "RETRY_STRATEGY": "fibonacci",
            "OVERFLOW": "drop_oldest",
            "WEBHOOK_ALLOWED_NETWORKS": ["10.1.0.0/16", "fd00::1"],
            "BREAKER": {"failures": 5, "open_seconds": 30},
        },
    )
    assert config.delivery_mode is DeliveryMode.EXACTLY_ONCE
    assert config.topic_type is TopicType.TOPIC
    assert config.retry_strategy is RetryStrategy.FIBONACCI
    assert config.overflow is Overflow.DROP_OLDEST
    assert config.webhook_allowed_networks == (ip_network("10.1.0.0/16"), ip_network("fd00::1"))
    assert config.breaker == BreakerPolicy(failures=5, open_seconds=30)


def test_durations_may_be_whole_numbers_or_timedeltas_and_are_float_seconds() -> None:
    config = BrokerConfig.from_settings({"ACK_DEADLINE": timedelta(minutes=2), "TIMEOUT": 60})
    assert (config.ack_deadline, config.timeout) == (120.0, 60.0)
    assert isinstance(config.timeout, float)


def test_the_breaker_is_off_by_false_as_by_none() -> None:
    assert BrokerConfig.from_settings({"BREAKER": False}).breaker is None
    assert BrokerConfig.from_settings({"BREAKER": None}).breaker is None


def test_the_retry_policy_is_made_of_the_settings() -> None:
    config = BrokerConfig.from_settings(
        {"MAX_ATTEMPTS": 7, "RETRY_STRATEGY": "linear", "RETRY_DELAY": 2, "MAX_RETRY_DELAY": 90, "JITTER": 0},
    )
    assert config.retry == RetryPolicy(
        max_attempts=7,
        retry_strategy=RetryStrategy.LINEAR,
        retry_delay=2.0,
        backoff_factor=2.0,
        max_retry_delay=90.0,
        jitter=0.0,
    )


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        BrokerConfig().max_attempts = 9  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        TopicConfig("orders").name = "other"  # type: ignore[misc]


WRONG = [
    ("DELIVERY_MODE", "at_lest_once", "Did you mean 'at_least_once'?"),
    ("TOPIC_TYPE", "queue", "fanout, direct, topic, headers"),
    ("MAX_MESSAGE_SIZE", 0, "from 1"),
    ("MAX_MESSAGE_SIZE", 2**31, "to 2147483647"),
    ("ENABLE_PERSISTENCE", "yes", "True or False"),
    ("ENABLE_COMPRESSION", 1, "True or False"),
    ("COMPRESSION_THRESHOLD", -1, "from 0"),
    ("MAX_ATTEMPTS", 0, "from 1"),
    ("MAX_ATTEMPTS", True, "whole number"),
    ("MAX_ATTEMPTS", "3", "whole number"),
    ("MAX_ATTEMPTS", None, "whole number"),
    ("RETRY_STRATEGY", "exponentail", "Did you mean 'exponential'?"),
    ("RETRY_DELAY", -1, "seconds"),
    ("RETRY_DELAY", float("nan"), "seconds"),
    ("MAX_RETRY_DELAY", float("inf"), "seconds"),
    ("MAX_RETRY_DELAY", timedelta.max, "seconds"),
    ("BACKOFF_FACTOR", 0.5, "from 1"),
    ("JITTER", 1.1, "from 0 to 1"),
    ("ENABLE_DLQ", None, "True or False"),
    ("DEAD_LETTER_RETENTION_HOURS", -1, "hours"),
    ("RETENTION_HOURS", 10**12, "hours"),
    ("RETENTION_HOURS", 10**400, "hours"),
    ("CLEANUP_INTERVAL", 0, "above 0"),
    ("MAX_QUEUE_SIZE", -1, "from 0"),
    ("OVERFLOW", "drop", "reject, drop_oldest, dead_letter_oldest"),
    ("MAX_SUBSCRIBERS", 0, "from 1"),
    ("BATCH_SIZE", 0, "from 1 to 1000"),
    ("BATCH_SIZE", 1001, "from 1 to 1000"),
    ("ACK_DEADLINE", 0, "above 0"),
    ("TIMEOUT", 0, "above 0"),
    ("BREAKER", 5, "object"),
    ("BREAKER", {"failures": 3, "open_second": 30}, "Did you mean 'open_seconds'?"),
    ("BREAKER", {"failures": 3}, "open_seconds"),
    ("THROTTLE", "many", "100/min"),
    ("THROTTLE", "0/s", "100/min"),
    ("PUBLIC_METRICS", "on", "True or False"),
    ("DATABASE", 1, "text"),
    ("WEBHOOK_ALLOWED_NETWORKS", "10.0.0.0/8", "list of networks"),
    ("WEBHOOK_ALLOWED_NETWORKS", ["10.0.0.1/8"], "10.0.0.1/8"),
    ("TOPICS", {"name": "orders"}, "list of TopicConfig"),
    ("SUBSCRIPTIONS", "billing", "list of SubscriptionConfig"),
]


@pytest.mark.parametrize(("key", "value", "part"), WRONG)
def test_a_wrong_value_is_refused_by_its_key(key: str, value: object, part: str) -> None:
    with pytest.raises(ConfigInvalidError) as refused:
        BrokerConfig.from_settings({key: value})
    assert refused.value.field == key
    assert part in refused.value.problem
    assert problems({key: value}) == [Problem(key, refused.value.problem)]


def test_a_wrong_field_is_named_as_in_the_settings_when_it_is_given_by_keyword() -> None:
    with pytest.raises(ConfigInvalidError, match=r"^MAX_ATTEMPTS: "):
        BrokerConfig(max_attempts=0)


@pytest.mark.parametrize(
    ("breaker", "field"),
    [
        ({"failures": 0, "open_seconds": 30}, "BREAKER.failures"),
        ({"failures": 3, "open_seconds": 0}, "BREAKER.open_seconds"),
    ],
)
def test_a_wrong_part_of_the_breaker_is_named_by_its_path(breaker: dict[str, int], field: str) -> None:
    with pytest.raises(ConfigInvalidError) as refused:
        BrokerConfig.from_settings({"BREAKER": breaker})
    assert refused.value.field == field


def test_a_settings_value_that_is_no_dict_is_refused() -> None:
    with pytest.raises(ConfigInvalidError, match="DATAPUNK_BROKER: must be a dict"):
        BrokerConfig.from_settings(["MAX_ATTEMPTS"])  # type: ignore[arg-type]
    assert [problem.key for problem in problems(None)] == ["DATAPUNK_BROKER"]  # type: ignore[arg-type]


def test_every_setting_has_a_reader_and_a_default() -> None:
    names = {field.name for field in fields(BrokerConfig)}
    assert names <= SETTINGS_READERS.keys()
    assert {name.upper() for name in names} == KEYS.keys() == DEFAULTS.keys()


def test_the_config_is_read_once_and_again_when_the_setting_changes() -> None:
    before = get_config()
    assert get_config() is before
    with override_settings(DATAPUNK_BROKER={"MAX_ATTEMPTS": 9}):
        assert get_config().max_attempts == 9
    assert get_config().max_attempts == before.max_attempts


def test_another_settings_change_leaves_the_config_in_place() -> None:
    before = get_config()
    with override_settings(LANGUAGE_CODE="de"):
        assert get_config() is before


def test_a_wrong_setting_is_refused_by_its_key_whenever_it_is_read() -> None:
    with override_settings(DATAPUNK_BROKER={"JITTER": 7}):
        for _ in range(2):
            with pytest.raises(ConfigInvalidError, match=r"^JITTER: "):
                get_config()
