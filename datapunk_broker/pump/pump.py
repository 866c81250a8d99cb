"""Keep going while there is work, then wait a little for more; one pump of a transport waits, the others end."""

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from uuid import uuid4

from datapunk_broker.conf import get_config
from datapunk_broker.engine.append import append
from datapunk_broker.engine.standby import stand_by, stand_down
from datapunk_broker.engine.sweep import sweep
from datapunk_broker.pump.rounds import Rounds
from datapunk_broker.pump.wake import stopping, wait
from datapunk_broker.states import Transport
from datapunk_broker.transports.handler import HandlerTransport
from datapunk_broker.transports.webhook import WebhookTransport

SLICE = 2.0
"""Seconds that a pump runs at most: a worker with a single slot serves every queue in turn."""

LINGER = 1.0
"""Seconds that the standby waits for the next message before it ends; then the doorbell starts a pump."""

__all__ = ["Pump", "pump_for", "stopping"]

POLL, POLL_LATER = 0.005, 0.05
"""Seconds between looks: in the first second of waiting, and then."""

SWEEP_EVERY = 1.0
STANDBY_EVERY, STANDBY_LEASE = 0.5, timedelta(seconds=2)

TRANSPORTS: Mapping[Transport, type[HandlerTransport | WebhookTransport]] = {
    Transport.HANDLER: HandlerTransport,
    Transport.WEBHOOK: WebhookTransport,
}


class Pump:
    """One pump. ``round`` does a round of work and returns how much it did; ``wake`` tells it that there is news."""

    def __init__(
        self,
        transport: str,
        round: Callable[[], int],  # noqa: A002
        *,
        using: str,
        wake: Callable[[], object] = lambda: None,
    ) -> None:
        self.transport, self.using = transport, using
        self.round, self.wake = round, wake
        self._me = uuid4()
        self._swept_at = self._stood_by_at = -1e9

    def run(self, seconds: float = SLICE, linger: float = LINGER) -> bool:
        """Pump until the time is up (True: ring again) or nothing was due for ``linger`` seconds (False)."""
        end, idle_since = time.monotonic() + seconds, None
        while (now := time.monotonic()) < end and not stopping.is_set():
            self._sweep_at_times(now)
            if self.round():
                idle_since = None
                continue
            idle_since = now if idle_since is None else idle_since
            idle = now - idle_since
            if idle >= linger or not self._stands_by(now):
                stand_down(self.transport, self._me, using=self.using)
                return False
            if wait(self.transport, POLL if idle < 1 else POLL_LATER):
                self.wake()
        stand_down(self.transport, self._me, using=self.using)
        return True

    def drain(self) -> int:
        """Do rounds until one finds nothing; return how much was done. For tests and commands: it never waits."""
        total, done = 0, 1
        while done:
            self.wake()
            done = self.round()
            total += done
        return total

    def _sweep_at_times(self, now: float) -> None:
        # Where pumps hold every slot of a worker, beat's sweep would wait behind them.
        if now - self._swept_at >= SWEEP_EVERY:
            self._swept_at = now
            sweep(using=self.using)

    def _stands_by(self, now: float) -> bool:
        if now - self._stood_by_at < STANDBY_EVERY:
            return True
        self._stood_by_at = now
        return stand_by(self.transport, self._me, STANDBY_LEASE, using=self.using)


def pump_for(transport: str, using: str | None = None) -> Pump:
    """Return a pump of a transport on a database, the broker's own by default."""
    using = using or get_config().database
    if transport == Transport.STREAM:
        return Pump(transport, lambda: sum(done.count for done in append(using=using)), using=using)
    rounds = Rounds(transport, TRANSPORTS[Transport(transport)](), using=using)
    return Pump(transport, rounds, using=using, wake=rounds.wake)
