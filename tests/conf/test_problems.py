"""Everything that is wrong with the settings, and what was meant."""

import pytest

from datapunk_broker.conf import (
    BrokerConfig,
    Problem,
    problems,
)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("MAX_ATEMPTS", "MAX_ATTEMPTS"),
        ("max_attempts", "MAX_ATTEMPTS"),
        ("TOPIC", "TOPICS"),
        ("TTIMEOUT", "TIMEOUT"),
    ],
)
def test_an_unknown_key_loads_and_is_reported_with_what_was_meant(key: str, meant: str) -> None:
    assert BrokerConfig.from_settings({key: 5}) == BrokerConfig()
    assert problems({key: 5}) == [Problem(key, "is no setting.", f"Did you mean {meant!r}?")]


def test_an_unknown_key_that_resembles_none_gets_no_guess() -> None:
    assert problems({"COLOUR_OF_THE_SKY": "blue", 7: 7}) == [  # type: ignore[dict-item]
        Problem("COLOUR_OF_THE_SKY", "is no setting."),
        Problem("7", "is no setting."),
    ]


def test_every_problem_is_found_and_the_sound_rest_is_still_held_together() -> None:
    found = problems(
        {
            "MAX_ATEMPTS": 3,
            "JITTER": 2,
            "ACK_DEADLINE": 10,
            "TOPICS": [
                {"name": "a b"},
                {"name": "orders"},
                {"name": "orders", "dead_letter_topic": "orders"},
            ],
            "SUBSCRIPTIONS": [
                {"name": "billing", "topic": "orders", "max_attempts": 0},
                {"name": "hook", "topic": "orders", "transport": "webhook", "endpoint_url": "https://example.com",
                 "delivery_mode": "exactly_once"},
                {"name": "slow", "topic": "orders", "timeout": 60},
                {"name": "bound", "topic": "orders", "bindings": [{"routing_key": "eu"}], "timeout": 5},
            ],
        },
    )  # fmt: skip
    assert [problem.key for problem in found] == [
        "MAX_ATEMPTS",
        "JITTER",
        "ACK_DEADLINE",
        "TOPICS[0].name",
        "SUBSCRIPTIONS[0].max_attempts",
        "TOPICS[2].name",
        "TOPICS[2].dead_letter_topic",
        "SUBSCRIPTIONS[1]",
        "SUBSCRIPTIONS[2].ack_deadline",
        "SUBSCRIPTIONS[3]",
    ]


def test_a_lease_shorter_than_the_timeout_in_the_settings_loads_and_is_reported() -> None:
    given = {"ACK_DEADLINE": 1}
    assert BrokerConfig.from_settings(given).ack_deadline == 1.0
    assert [problem.key for problem in problems(given)] == ["ACK_DEADLINE"]
