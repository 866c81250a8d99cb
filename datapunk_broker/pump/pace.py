"""How much at a time: what a pump claims, what suspects take of a busy one, how long it leaves alone who waits."""

from dataclasses import dataclass

WORTH = 0.5
"""Seconds of work that one claim takes, so that slow handlers share their backlog among workers."""

FIRST = 4
GROWTH = 4
LARGEST = 500
SMOOTHING = 0.5

SUSPECTS_SHARE = 0.15
"""Seconds that suspects may take for each second of ordinary work."""

REST, LONGEST_REST = 10, 0.5
"""A subscription that had nothing to give is left alone for so many times as long as it took to see that; seconds."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What is known of a subscriber's speed. seconds: a message takes, None before the first. share: what to claim."""

    share: int = FIRST
    seconds: float | None = None

    def after(self, messages: int, seconds: float) -> "Pace":
        """Return the pace after so many messages took so long; it grows by steps and falls at once."""
        if messages <= 0:
            return self
        each = seconds / messages
        smooth = each if self.seconds is None else SMOOTHING * each + (1 - SMOOTHING) * self.seconds
        target = LARGEST if smooth * LARGEST <= WORTH else max(1, int(WORTH / smooth))
        return Pace(min(target, self.share * GROWTH), smooth)


@dataclass(frozen=True, slots=True)
class Allowance:
    """The seconds that suspects may take; below none, what they took beyond it."""

    seconds: float = 0.0

    def after_work(self, seconds: float) -> "Allowance":
        """Return what is allowed after so many seconds of ordinary work."""
        return Allowance(self.seconds + SUSPECTS_SHARE * seconds)

    def after_suspects(self, seconds: float, *, left: bool) -> "Allowance":
        """Return what is allowed after suspects took so many seconds; where none is ``left`` nothing is kept."""
        rest = self.seconds - seconds
        return Allowance(rest if left else min(rest, 0.0))


IDLE = Allowance(0.05)
"""What suspects may take where there is nothing else to do, before the next look for it."""


def rest(seconds: float) -> float:
    """Return for how long to leave a subscription alone that took so many seconds to find nothing to claim."""
    return min(LONGEST_REST, REST * seconds)
