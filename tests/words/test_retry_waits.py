"""Waits between attempts grow, are capped and then drawn, and a policy that makes no sense is refused."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapunk_broker.exceptions import ConfigInvalidError
from datapunk_broker.retry import RetryPolicy, wait_after
from datapunk_broker.states import RetryStrategy

EXACT = RetryPolicy(jitter=0.0, max_retry_delay=100.0)


@pytest.mark.parametrize(
    ("strategy", "waits"),
    [
        ("fixed", [3, 3, 3, 3, 3, 3, 3]),
        ("exponential", [3, 6, 12, 24, 48, 96, 100]),
        ("linear", [3, 6, 9, 12, 15, 18, 21]),
        ("fibonacci", [3, 3, 6, 9, 15, 24, 39]),
    ],
)
def test_waits_grow_from_the_base_as_the_strategy_says(strategy: Any, waits: list[float]) -> None:
    policy = replace(EXACT, retry_delay=3.0, retry_strategy=strategy)

    assert [wait_after(policy, attempt, Random(1)) for attempt in range(1, 8)] == waits


def test_the_defaults_are_those_of_the_settings() -> None:
    assert RetryPolicy() == RetryPolicy(
        max_attempts=3,
        retry_strategy=RetryStrategy.EXPONENTIAL,
        retry_delay=1.0,
        backoff_factor=2.0,
        max_retry_delay=30.0,
        jitter=0.1,
    )


@pytest.mark.parametrize("strategy", RetryStrategy)
@pytest.mark.parametrize("factor", [1, 2, 2.5, 1000])
@pytest.mark.parametrize("delay", [0.0, 5e-324, 1e-9, 0.5, 200.0])
def test_no_attempt_is_late_enough_to_overflow(strategy: RetryStrategy, factor: float, delay: float) -> None:
    policy = replace(EXACT, retry_strategy=strategy, backoff_factor=factor, retry_delay=delay)

    for attempt in (1, 2, 100, 10_000, 10**18):
        assert 0 <= wait_after(policy, attempt, Random(1)) <= 100


seconds = st.floats(0, 1e6)
policies = st.builds(
    RetryPolicy,
    retry_strategy=st.sampled_from(RetryStrategy),
    retry_delay=seconds,
    max_retry_delay=seconds,
    jitter=st.floats(0, 1),
)


@given(policies, st.integers(1, 50), st.randoms(use_true_random=False))
def test_a_wait_is_capped_before_it_is_drawn(policy: RetryPolicy, attempt: int, rng: Random) -> None:
    whole = wait_after(replace(policy, jitter=0.0), attempt, rng)
    wait = wait_after(policy, attempt, rng)

    assert 0 <= wait <= policy.max_retry_delay
    if policy.retry_strategy is not RetryStrategy.RANDOM:
        assert whole * (1 - policy.jitter) * (1 - 1e-9) <= wait <= whole


def test_jitter_draws_evenly_from_its_share_of_the_capped_wait() -> None:
    policy, rng = RetryPolicy(retry_delay=100.0, max_retry_delay=40.0, jitter=0.25), Random(7)
    waits = sorted(wait_after(policy, 1, rng) for _ in range(4000))

    assert 30 <= waits[0] < 30.1
    assert 39.9 < waits[-1] <= 40
    assert abs(waits[2000] - 35) < 0.5


def test_full_jitter_reaches_down_to_nothing() -> None:
    policy, rng = RetryPolicy(retry_delay=8.0, jitter=1.0), Random(7)
    waits = [wait_after(policy, 1, rng) for _ in range(4000)]

    assert 0 <= min(waits) < 0.05
    assert 7.95 < max(waits) <= 8


def test_random_waits_lie_between_the_base_and_the_cap_at_every_attempt() -> None:
    policy, rng = RetryPolicy(retry_strategy=RetryStrategy.RANDOM, retry_delay=2.0, max_retry_delay=9.0), Random(7)
    waits = [wait_after(policy, attempt, rng) for attempt in range(1, 4000)]

    assert 2 <= min(waits) < 2.1
    assert 8.9 < max(waits) <= 9


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("max_attempts", value) for value in (0, -1, True, 1.5, "3", None, 2**31)),
        *(("retry_strategy", value) for value in ("sometimes", "EXPONENTIAL", None, 1, ["fixed"])),
        *((field, value) for field in ("retry_delay", "max_retry_delay") for value in (-0.1, 1e10, True, "1", None)),
        *((field, float(value)) for field in ("retry_delay", "backoff_factor", "jitter") for value in ("nan", "inf")),
        *(("backoff_factor", value) for value in (0, 0.99, -1, 1001, True)),
        *(("jitter", value) for value in (-0.01, 1.01, True, "0.1")),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_by_the_name_of_its_field(field: str, value: Any) -> None:
    with pytest.raises(ConfigInvalidError) as error:
        replace(RetryPolicy(), **{field: value})

    assert error.value.field == field


def test_a_strategy_may_be_given_by_its_stored_value() -> None:
    policy = RetryPolicy(retry_strategy="linear")  # type: ignore[arg-type]

    assert policy.retry_strategy is RetryStrategy.LINEAR
