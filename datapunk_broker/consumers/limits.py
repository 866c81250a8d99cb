"""What one connection may do, and how long it is waited for."""

from dataclasses import dataclass

from datapunk_broker import frames
from datapunk_broker.conf import get_config

ENVELOPE = 64 * 1024
"""Bytes that a frame may have around its payload."""

HELLO_BYTES = 8 * 1024
"""Of a frame from someone not yet known."""

FRAME_BYTES = 64 * 1024
"""About so much is sent in one frame, save a single message that is larger; a stalled socket holds no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of a connection; durations are seconds.

    credit: messages a subscription may be granted beyond those it was sent. frame_bytes: of a frame from the
    client, by default what the largest message needs. frames_burst: may come at once, frames_per_second after that.
    ping_seconds: a client that pings and then is silent for four times as long is gone.
    slow_seconds: how long one frame may wait to be taken. reauthorise_seconds: rights are looked at so often.
    """

    hello_seconds: float = 10.0
    subscriptions: int = 100
    credit: int = 10_000
    frame_bytes: int | None = None
    frames_per_second: float = 2_000.0
    frames_burst: int = 10_000
    ping_seconds: float = 20.0
    slow_seconds: float = 30.0
    reauthorise_seconds: float = 20.0
    watch_seconds: float = 1.0

    @property
    def largest_frame(self) -> int:
        """Bytes that a frame may have."""
        return get_config().max_message_size + ENVELOPE if self.frame_bytes is None else self.frame_bytes

    def told(self) -> frames.Limits:
        """Return what the client is told of them."""
        return frames.Limits(
            subscriptions=self.subscriptions,
            credit=self.credit,
            frame_bytes=self.largest_frame,
            frames_per_second=self.frames_per_second,
            ping_seconds=self.ping_seconds,
        )


class Bucket:
    """A rate with bursts; the caller says what time it is."""

    def __init__(self, per_second: float, burst: int, *, now: float) -> None:
        self._per_second, self._burst = per_second, burst
        self._left, self._at = float(burst), now

    def take(self, now: float) -> bool:
        """Take one, or return False where none is left."""
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
