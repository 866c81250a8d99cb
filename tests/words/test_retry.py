"""After a failed attempt comes another, in time, or death: decided from values alone."""

import json
from datetime import timedelta
from random import Random

import msgspec
import pydantic
import pytest

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
    reason_of,
)
from datapunk_broker.states import FailureReason

EXACT = RetryPolicy(jitter=0.0, max_retry_delay=100.0)
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
