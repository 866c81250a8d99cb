"""What follows a failed attempt: another after a wait, or death, and for which reason."""

import math
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from reprlib import repr as short

import msgspec

from datapunk_broker.exceptions import (
    ConfigInvalidError,
    EndpointFailedError,
    HandlerTimeoutError,
    PayloadInvalidError,
    Reject,
    RetryAfter,
    SchemaMismatchError,
)
from datapunk_broker.states import FailureReason, RetryStrategy

LONGEST_RETRY_AFTER = timedelta(days=7)
"""No handler and no endpoint puts its next attempt off for longer than this."""

_CENTURY = 36_525 * 86_400
_INTEGER = 2**31 - 1
_UNREADABLE = (PayloadInvalidError, SchemaMismatchError, msgspec.DecodeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a message is tried, and how long to wait in between; ConfigInvalidError names a wrong field.

    max_attempts: with the first delivery, which is attempt 1.
    retry_delay: seconds after attempt 1. max_retry_delay: seconds, the cap of every wait.
    retry_strategy: before the cap, the wait after attempt n is retry_delay, times n (linear),
        times backoff_factor ** (n - 1) (exponential), or times the n-th of 1, 1, 2, 3, 5 … (fibonacci).
        random draws it from [retry_delay, max_retry_delay], without jitter.
    jitter: 0 to 1; the capped wait d is drawn from [d * (1 - jitter), d]: 1 is full jitter.
    """

    max_attempts: int = 3
    retry_strategy: RetryStrategy = RetryStrategy.EXPONENTIAL
    retry_delay: float = 1.0
    backoff_factor: float = 2.0
    max_retry_delay: float = 30.0
    jitter: float = 0.1

    def __post_init__(self) -> None:
        if self.retry_strategy not in tuple(RetryStrategy):
            problem = f"must be one of {', '.join(RetryStrategy)}, not {short(self.retry_strategy)}"
            raise ConfigInvalidError("retry_strategy", problem)
        object.__setattr__(self, "retry_strategy", RetryStrategy(self.retry_strategy))
        self._check("max_attempts", 1, _INTEGER, whole=True)
        self._check("retry_delay", 0, _CENTURY)
        self._check("backoff_factor", 1, 1000)
        self._check("max_retry_delay", 0, _CENTURY)
        self._check("jitter", 0, 1)

    def _check(self, field: str, least: int, most: int, *, whole: bool = False) -> None:
        value = getattr(self, field)
        fits = isinstance(value, int) or (isinstance(value, float) and not whole)
        if isinstance(value, bool) or not fits or not least <= value <= most:
            kind = "a whole number" if whole else "a number"
            raise ConfigInvalidError(field, f"must be {kind} from {least} to {most}, not {short(value)}")


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after ``delay``; the attempt failed for ``reason``."""

    delay: timedelta
    reason: FailureReason


@dataclass(frozen=True, slots=True)
class Dead:
    """No attempt follows; the dead letter says ``reason``."""

    reason: FailureReason


def wait_after(policy: RetryPolicy, attempt: int, rng: Random) -> float:
    """Return the seconds to wait after attempt n (from 1).

    Exponents are n - 1, so that the first wait is ``retry_delay`` itself. Capped first, drawn then.
    """
    if policy.retry_strategy is RetryStrategy.RANDOM:
        longest = policy.max_retry_delay
        shortest = min(policy.retry_delay, longest)
    else:
        longest = min(_growing(policy, attempt), policy.max_retry_delay)
        shortest = longest * (1 - policy.jitter)
    return longest - (longest - shortest) * rng.random()


def _growing(policy: RetryPolicy, attempt: int) -> float:
    base = policy.retry_delay
    if base == 0:
        return 0.0
    match policy.retry_strategy:
        case RetryStrategy.EXPONENTIAL:
            return base * _power(policy.backoff_factor, attempt - 1)
        case RetryStrategy.LINEAR:
            return base * attempt
        case RetryStrategy.FIBONACCI:
            return base * _fibonacci(attempt, enough=policy.max_retry_delay / base)
        case _:
            return base


def _power(factor: float, exponent: int) -> float:
    try:
        return float(factor) ** exponent
    except OverflowError:
        return math.inf


def _fibonacci(n: int, *, enough: float) -> float:
    """Return the n-th of 1, 1, 2, 3, 5 …, or the first that is enough."""
    current, following = 1.0, 1.0
    for _ in range(n - 1):
        if current >= enough:
            break
        current, following = following, current + following
    return current


def decide(policy: RetryPolicy, *, attempt: int, error: Exception, rng: Random) -> Retry | Dead:
    """Say what follows attempt n (from 1), which ended with ``error``.

    ``Reject`` and what can never be read die at once. ``RetryAfter`` waits its own time, not the policy's; what an
    endpoint asks for lengthens the policy's. Both up to ``LONGEST_RETRY_AFTER``.
    """
    reason = reason_of(error)
    if reason in (FailureReason.REJECTED, FailureReason.VALIDATION_ERROR):
        return Dead(reason)
    if attempt >= policy.max_attempts:
        return Dead(FailureReason.ATTEMPTS_EXHAUSTED)
    if isinstance(error, RetryAfter):
        return Retry(_bounded(error.delay), reason)
    wait = timedelta(seconds=wait_after(policy, attempt, rng))
    if isinstance(error, EndpointFailedError) and error.retry_after is not None:
        wait = max(wait, _bounded(error.retry_after))
    return Retry(wait, reason)


def reason_of(error: Exception) -> FailureReason:
    """Return the reason that an attempt which ended with this error is kept under."""
    if isinstance(error, Reject):
        return FailureReason.REJECTED
    if isinstance(error, _UNREADABLE) or _is_pydantic(error):
        return FailureReason.VALIDATION_ERROR
    if isinstance(error, HandlerTimeoutError | TimeoutError):
        return FailureReason.TIMEOUT
    if isinstance(error, OSError):  # a ConnectionError is one
        return FailureReason.DEPENDENCY_ERROR
    return FailureReason.PROCESSING_ERROR


def _is_pydantic(error: Exception) -> bool:
    kind = type(error)
    return kind.__name__ == "ValidationError" and kind.__module__.startswith("pydantic")


def _bounded(delay: timedelta) -> timedelta:
    return min(max(delay, timedelta(0)), LONGEST_RETRY_AFTER)
