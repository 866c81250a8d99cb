"""A breaker opens, probes and closes: the whole state machine, row by row."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapunk_broker.breaker import Breaker, BreakerPolicy, after, from_setting, may_probe, probing
from datapunk_broker.exceptions import ConfigInvalidError
from datapunk_broker.states import BreakerState

POLICY = BreakerPolicy(failures=3, open_seconds=60)
NOW = datetime(2024, 2, 28, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LEASE = 90 * SECOND


def closed(failures: int = 0) -> Breaker:
    return Breaker(BreakerState.CLOSED, failures)


def opened(until: datetime, failures: int = 3) -> Breaker:
    return Breaker(BreakerState.OPEN, failures, until)


def half_open(until: datetime, failures: int = 3) -> Breaker:
    return Breaker(BreakerState.HALF_OPEN, failures, until)


LATER = NOW + 60 * SECOND
SOON = NOW + 10 * SECOND


@pytest.mark.parametrize(
    ("before", "acked", "failed", "expected"),
    [
        (closed(), 0, 0, closed()),
        (closed(2), 0, 0, closed(2)),
        (closed(), 5, 0, closed()),
        (closed(2), 1, 0, closed()),
        (closed(), 0, 1, closed(1)),
        (closed(1), 0, 1, closed(2)),
        (closed(2), 0, 1, opened(LATER)),
        (closed(), 0, 3, opened(LATER)),
        (closed(), 0, 100, opened(LATER, 100)),
        (closed(1), 0, 7, opened(LATER, 8)),
        (closed(2), 1, 99, opened(LATER, 99)),
        (closed(2), 99, 1, closed(1)),
        (opened(SOON), 0, 0, opened(SOON)),
        (opened(SOON), 0, 5, opened(SOON)),
        (opened(SOON), 5, 0, opened(SOON)),
        (opened(SOON), 5, 5, opened(SOON)),
        (opened(NOW - SECOND), 0, 1, opened(NOW - SECOND)),
        (opened(NOW - SECOND), 1, 0, opened(NOW - SECOND)),
        (half_open(SOON), 0, 0, half_open(SOON)),
        (half_open(SOON), 1, 0, closed()),
        (half_open(SOON), 0, 1, opened(LATER, 4)),
        (half_open(SOON, 1), 0, 1, opened(LATER, 2)),
        (half_open(SOON), 1, 1, closed()),
        (half_open(NOW - SECOND), 1, 0, closed()),
        (half_open(NOW - SECOND), 0, 1, opened(LATER, 4)),
    ],
)
def test_what_settles_moves_the_breaker(before: Breaker, acked: int, failed: int, expected: Breaker) -> None:
    assert after(POLICY, before, acked=acked, failed=failed, now=NOW) == expected


@pytest.mark.parametrize(
    ("breaker", "due"),
    [
        (closed(), False),
        (closed(2), False),
        (opened(NOW + SECOND), False),
        (opened(NOW), True),
        (opened(NOW - SECOND), True),
        (half_open(NOW + SECOND), False),
        (half_open(NOW), True),
        (half_open(NOW - SECOND), True),
        (Breaker(BreakerState.OPEN), False),
    ],
)
def test_a_probe_is_due_when_the_time_is_up(breaker: Breaker, *, due: bool) -> None:
    assert may_probe(breaker, NOW) is due


@pytest.mark.parametrize(
    ("before", "lease", "expected"),
    [
        (opened(NOW), LEASE, half_open(NOW + LEASE)),
        (opened(NOW - SECOND, 8), LEASE, half_open(NOW + LEASE, 8)),
        (opened(NOW), SECOND, half_open(LATER)),
        (half_open(NOW), LEASE, half_open(NOW + LEASE)),
        (half_open(SOON), LEASE, half_open(SOON)),
        (opened(SOON), LEASE, opened(SOON)),
        (closed(2), LEASE, closed(2)),
    ],
)
def test_a_probe_is_claimed_for_its_lease_and_one_at_a_time(
    before: Breaker, lease: timedelta, expected: Breaker
) -> None:
    assert probing(POLICY, before, now=NOW, lease=lease) == expected


def test_an_outage_from_the_first_failure_to_recovery() -> None:
    breaker = Breaker()
    for _ in range(3):
        breaker = after(POLICY, breaker, acked=0, failed=1, now=NOW)
    assert breaker == opened(LATER)

    breaker = probing(POLICY, breaker, now=LATER, lease=LEASE)
    breaker = after(POLICY, breaker, acked=0, failed=1, now=LATER + SECOND)
    assert breaker == opened(LATER + 61 * SECOND, 4)

    vanished = probing(POLICY, breaker, now=LATER + 61 * SECOND, lease=LEASE)
    assert not may_probe(vanished, LATER + 61 * SECOND + LEASE - SECOND)
    again = probing(POLICY, vanished, now=LATER + 61 * SECOND + LEASE, lease=LEASE)
    assert again.until == LATER + 61 * SECOND + 2 * LEASE

    assert after(POLICY, again, acked=1, failed=0, now=LATER) == Breaker()


steps = st.lists(st.tuples(st.sampled_from(["settle", "probe"]), st.integers(0, 3), st.integers(0, 3)), max_size=40)


@given(steps, st.integers(1, 5))
def test_only_a_closed_breaker_has_no_time_and_fewer_failures_than_its_limit(
    steps: list[tuple[str, int, int]], limit: int
) -> None:
    policy, breaker, now = BreakerPolicy(limit, 30), Breaker(), NOW

    for step, acked, failed in steps:
        now += 20 * SECOND
        if step == "settle":
            breaker = after(policy, breaker, acked=acked, failed=failed, now=now)
        else:
            breaker = probing(policy, breaker, now=now, lease=10 * SECOND)
        assert (breaker.state is BreakerState.CLOSED) is (breaker.until is None)
        assert (breaker.state is BreakerState.CLOSED) is (breaker.failures < limit)


@pytest.mark.parametrize("setting", [None, False, {}])
def test_no_setting_is_no_breaker(setting: Any) -> None:
    assert from_setting(setting) is None


def test_a_setting_is_read_by_its_names() -> None:
    assert from_setting({"open_seconds": 0.5, "failures": 5}) == BreakerPolicy(5, 0.5)


@pytest.mark.parametrize(
    ("setting", "field", "problem"),
    [
        ({"failures": 3}, "breaker", "needs open_seconds"),
        ({"open_seconds": 3}, "breaker", "needs failures"),
        ({"failures": 3, "open_second": 3}, "breaker", "Did you mean 'open_seconds'?"),
        ({"failures": 3, "open_seconds": 3, "colour": 1}, "breaker", "no option of a breaker"),
        ({"failures": 3, "open_seconds": 3, 7: 1}, "breaker", "no option of a breaker"),
        ("on", "breaker", "must be an object"),
        ([1], "breaker", "must be an object"),
        (True, "breaker", "must be an object"),
        *(
            ({"failures": value, "open_seconds": 3}, "failures", "whole number")
            for value in (0, -1, True, 1.5, "3", None)
        ),
        *(
            ({"failures": 3, "open_seconds": value}, "open_seconds", "seconds above 0")
            for value in (0, -1, True, "3", None, float("nan"), float("inf"), 1e10)
        ),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(setting: Any, field: str, problem: str) -> None:
    with pytest.raises(ConfigInvalidError, match=problem.replace("?", r"\?")) as error:
        from_setting(setting)

    assert error.value.field == field
