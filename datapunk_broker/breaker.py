"""Whether a subscription's deliveries flow, wait, or send one probe: a value, and what moves it on."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from difflib import get_close_matches
from reprlib import repr as short
from typing import Any, Literal

from datapunk_broker.exceptions import ConfigInvalidError
from datapunk_broker.states import BreakerState

_CENTURY = 36_525 * 86_400


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When to stop, and for how long; ConfigInvalidError names a wrong field.

    failures: this many in a row open the breaker. open_seconds: until one delivery is let out as a probe.
    """

    failures: int
    open_seconds: float

    def __post_init__(self) -> None:
        if isinstance(self.failures, bool) or not isinstance(self.failures, int) or self.failures < 1:
            raise ConfigInvalidError("failures", f"must be a whole number from 1, not {short(self.failures)}")
        seconds = self.open_seconds
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= _CENTURY:
            problem = f"must be seconds above 0 and up to {_CENTURY}, not {short(seconds)}"
            raise ConfigInvalidError("open_seconds", problem)

    @property
    def pause(self) -> timedelta:
        """How long an open breaker stays so."""
        return timedelta(seconds=self.open_seconds)


@dataclass(frozen=True, slots=True)
class Breaker:
    """A subscription's breaker.

    failures: in a row so far. until: open, when a probe is due; half-open, when the probe is given up.
    """

    state: BreakerState = BreakerState.CLOSED
    failures: int = 0
    until: datetime | None = None


CLOSED = Breaker()


def from_setting(setting: Mapping[str, Any] | Literal[False] | None) -> BreakerPolicy | None:
    """Read ``{"failures": n, "open_seconds": s}``; None, False and ``{}`` are no breaker."""
    if not setting:
        return None
    if not isinstance(setting, Mapping):
        raise ConfigInvalidError("breaker", f"must be an object or null, not {short(setting)}")
    known = [field.name for field in fields(BreakerPolicy)]
    for name in setting:
        if name not in known:
            meant = get_close_matches(str(name), known, n=1)
            hint = f"Did you mean {meant[0]!r}?" if meant else f"It has {' and '.join(known)}."
            raise ConfigInvalidError("breaker", f"{short(name)} is no option of a breaker. {hint}")
    missing = [name for name in known if name not in setting]
    if missing:
        raise ConfigInvalidError("breaker", f"needs {' and '.join(missing)}, too")
    return BreakerPolicy(**setting)


def after(policy: BreakerPolicy, breaker: Breaker, *, acked: int, failed: int, now: datetime) -> Breaker:
    """Return the breaker once so many were acked and, after the last of these, so many failed.

    What settles while the breaker is open was claimed before it opened, and changes nothing.
    """
    if breaker.state == BreakerState.OPEN or acked + failed == 0:
        return breaker
    is_probe = breaker.state == BreakerState.HALF_OPEN
    if is_probe and acked:
        return CLOSED
    failures = failed if acked else breaker.failures + failed
    if is_probe or failures >= policy.failures:
        return Breaker(BreakerState.OPEN, failures, now + policy.pause)
    return Breaker(BreakerState.CLOSED, failures)


def may_probe(breaker: Breaker, now: datetime) -> bool:
    """Whether one delivery may go out: the breaker's time is up, or its last probe never reported."""
    return breaker.state != BreakerState.CLOSED and breaker.until is not None and breaker.until <= now


def probing(policy: BreakerPolicy, breaker: Breaker, *, now: datetime, lease: timedelta) -> Breaker:
    """Return the breaker with its one probe claimed, for a ``lease``; unchanged when it ``may_probe`` not.

    A probe that vanishes tells no more than one that fails, so the next one is no sooner.
    """
    if not may_probe(breaker, now):
        return breaker
    return Breaker(BreakerState.HALF_OPEN, breaker.failures, now + max(lease, policy.pause))
