"""After a failed attempt comes another, in time, or death: decided from values alone."""

import json
from datetime import UTC, datetime, timedelta
from random import Random

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapunk_broker.exceptions import (
    HandlerTimeoutError,
    PayloadInvalidError,
    Reject,
    RetryAfter,
    SchemaMismatchError,
)
from datapunk_broker.retry import (
    LONGEST_RETRY_AFTER,
    Dead,
    Retry,
    RetryPolicy,
    decide,
    parse_retry_after,
    reason_of,
)
from datapunk_broker.states import FailureReason

EXACT = RetryPolicy(jitter=0.0, max_retry_delay=100.0)
NOW = datetime(2024, 2, 28, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def invalid(kind: type[pydantic.BaseModel] = pydantic.RootModel[int]) -> Exception:
    with pytest.raises(pydantic.ValidationError) as error:
        kind.model_validate("x")
    return error.value


UNREADABLE: list[Exception] = [
    PayloadInvalidError("payload", "x"),
    SchemaMismatchError("orders", "/a", "x"),
    msgspec.ValidationError("x"),
    msgspec.DecodeError("x"),
    invalid(),
]

REASONS: list[tuple[Exception, FailureReason]] = [
    *((error, FailureReason.VALIDATION_ERROR) for error in UNREADABLE),
    (Reject("never"), FailureReason.REJECTED),
    (HandlerTimeoutError(15), FailureReason.TIMEOUT),
    (TimeoutError(), FailureReason.TIMEOUT),
    (ConnectionRefusedError(), FailureReason.DEPENDENCY_ERROR),
    (OSError("disk"), FailureReason.DEPENDENCY_ERROR),
    (RetryAfter(5), FailureReason.PROCESSING_ERROR),
    (ValueError("x"), FailureReason.PROCESSING_ERROR),
    (json.JSONDecodeError("half an answer", "{", 1), FailureReason.PROCESSING_ERROR),
    (ZeroDivisionError(), FailureReason.PROCESSING_ERROR),
]


@pytest.mark.parametrize(("error", "reason"), REASONS, ids=lambda value: type(value).__name__)
def test_every_error_has_a_reason(error: Exception, reason: FailureReason) -> None:
    assert reason_of(error) is reason


@pytest.mark.parametrize("error", UNREADABLE, ids=lambda error: type(error).__name__)
def test_what_can_never_be_read_dies_at_its_first_attempt(error: Exception) -> None:
    assert decide(EXACT, attempt=1, error=error, rng=Random(1)) == Dead(FailureReason.VALIDATION_ERROR)


@pytest.mark.parametrize("attempt", [1, 2, 3, 4])
def test_a_rejected_message_dies_as_rejected_at_any_attempt(attempt: int) -> None:
    assert decide(EXACT, attempt=attempt, error=Reject(), rng=Random(1)) == Dead(FailureReason.REJECTED)


@pytest.mark.parametrize(("error", "reason"), REASONS[len(UNREADABLE) + 1 :], ids=lambda value: type(value).__name__)
def test_other_failures_are_tried_again_until_the_attempts_are_used_up(error: Exception, reason: FailureReason) -> None:
    fates = [decide(EXACT, attempt=attempt, error=error, rng=Random(1)) for attempt in (1, 2, 3, 4)]
    waits = [5, 5] if isinstance(error, RetryAfter) else [1, 2]

    assert fates == [
        *(Retry(wait * SECOND, reason) for wait in waits),
        Dead(FailureReason.ATTEMPTS_EXHAUSTED),
        Dead(FailureReason.ATTEMPTS_EXHAUSTED),
    ]


def test_one_attempt_means_no_retry() -> None:
    policy = RetryPolicy(max_attempts=1)

    assert decide(policy, attempt=1, error=RetryAfter(1), rng=Random(1)) == Dead(FailureReason.ATTEMPTS_EXHAUSTED)


@pytest.mark.parametrize(
    ("asked", "delay"),
    [
        (timedelta(minutes=90), timedelta(minutes=90)),
        (0, timedelta(0)),
        (-5, timedelta(0)),
        (1e9, LONGEST_RETRY_AFTER),
    ],
)
def test_a_handler_may_ask_for_its_own_wait_within_bounds(asked: float | timedelta, delay: timedelta) -> None:
    fate = decide(EXACT, attempt=1, error=RetryAfter(asked), rng=Random(1))

    assert fate == Retry(delay, FailureReason.PROCESSING_ERROR)


@pytest.mark.parametrize(
    ("at_least", "seconds"),
    [(timedelta(0), 1), (SECOND / 2, 1), (60 * SECOND, 60), (-60 * SECOND, 1), (timedelta(days=365), 7 * 86_400)],
)
def test_an_endpoint_lengthens_a_wait_but_never_shortens_it(at_least: timedelta, seconds: int) -> None:
    fate = decide(EXACT, attempt=1, error=OSError(), rng=Random(1), at_least=at_least)

    assert fate == Retry(seconds * SECOND, FailureReason.DEPENDENCY_ERROR)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 120\t", 120),
        ("000000000000000007", 7),
        ("604801", 604_800),
        ("9" * 5000, 604_800),
        ("Wed, 28 Feb 2024 12:02:00 GMT", 120),
        ("Wednesday, 28-Feb-24 12:02:00 GMT", 120),
        ("Wed Feb 28 12:02:00 2024", 120),
        ("Fri Mar  1 12:00:00 2024", 2 * 86_400),
        ("Wed, 28 Feb 2024 11:59:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 604_800),
    ],
)
def test_a_retry_after_is_seconds_or_a_date_within_bounds(value: str, seconds: int) -> None:
    assert parse_retry_after(value, NOW) == seconds * SECOND


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "-1",
        "+1",
        "1.5",
        "1e3",
        "1_000",
        "120 seconds",
        "\u0661\u0662",
        "\u00b2",
        "120, 240",
        "2024-02-28T12:02:00Z",
        "Wed, 28 Feb 2024",
        "Wed, 99 Feb 2024 12:02:00 GMT",
        "Wed, 28 Foo 2024 12:02:00 GMT",
        "Wed, 28 Feb 2024 25:02:00 GMT",
        "Wed, 28 Feb 2024 12:02:00 XYZ",
        "Mon, 00 Jan 0000 00:00:00 GMT",
        "\x00",
    ],
)
def test_a_retry_after_that_does_not_parse_is_ignored(value: str) -> None:
    assert parse_retry_after(value, NOW) is None


@given(
    st.text(max_size=40) | st.from_regex(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", fullmatch=True)
)
def test_no_header_breaks_the_parser(value: str) -> None:
    delay = parse_retry_after(value, NOW)

    assert delay is None or timedelta(0) <= delay <= LONGEST_RETRY_AFTER
