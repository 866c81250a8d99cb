"""How many messages a pump claims of a subscription: about as many as it handles in half a second."""

from dataclasses import dataclass

WORTH = 0.5
"""Seconds of work that one claim takes, so that slow handlers share their backlog among workers."""

FIRST = 4
GROWTH = 4
LARGEST = 500
SMOOTHING = 0.5


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
