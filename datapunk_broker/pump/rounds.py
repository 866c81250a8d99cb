"""One round: claim across all subscriptions of a transport, then deliver and settle, subscription by subscription."""

import time
from collections.abc import Sequence

from datapunk_broker.engine.claim import claim, claim_guarded, claim_probe, claim_suspect, with_work
from datapunk_broker.engine.roster import Roster, Subscriber
from datapunk_broker.engine.rows import Claimed, Wanted
from datapunk_broker.exceptions import ConfigInvalidError
from datapunk_broker.pump.batch import Batch
from datapunk_broker.pump.deliver import deliver
from datapunk_broker.pump.pace import LARGEST, Pace
from datapunk_broker.pump.rescue import hand_back
from datapunk_broker.states import SubscriptionMode
from datapunk_broker.transports import Transport

SUSPECTS_EVERY = 0.5
"""Seconds between looks for suspects and open breakers while ordinary work goes on."""


class Rounds:
    """The rounds of one pump; it remembers each subscriber's pace, its last turn and the last ordering key served."""

    def __init__(self, kind: str, transport: Transport, *, using: str) -> None:
        self.transport, self.using = transport, using
        self.roster = Roster(kind, using)
        self._known: dict[int, Subscriber] = {}
        self._served: dict[int, Subscriber] = {}
        self._paces: dict[int, Pace] = {}
        self._last_keys: dict[int, str] = {}
        self._turns: dict[int, float] = {}
        self._looked_at = -1e9

    def __call__(self) -> int:
        """Do one round; return how many messages were handled."""
        self._read_roster()
        flowing = [s for s in self._served.values() if s.breaker_closed]
        done = self._plain([s for s in flowing if not s.guarded])
        done += self._guarded([s for s in flowing if s.guarded])
        if not done or time.monotonic() - self._looked_at >= SUSPECTS_EVERY:
            self._looked_at = time.monotonic()
            done += self._suspects(flowing)
            done += self._probes([s for s in self._served.values() if not s.breaker_closed])
        return done

    def _read_roster(self) -> None:
        known = self.roster.current()
        if known is not self._known:
            self._known = known
            self._served = {s.id: s for s in known.values() if self._serves(s)}

    def _serves(self, subscriber: Subscriber) -> bool:
        is_batch = subscriber.mode == SubscriptionMode.BATCH
        try:
            self.transport.payload_type(subscriber.name, subscriber.handler, batch=is_batch)
        except ConfigInvalidError:
            return False  # Another process may have the handler; a system check names it.
        return True

    def _plain(self, subscribers: Sequence[Subscriber]) -> int:
        began = time.monotonic()
        return self._deliver(claim([self._wanted(s) for s in subscribers], limit=LARGEST, using=self.using), began)

    def _guarded(self, subscribers: Sequence[Subscriber]) -> int:
        done = 0
        busy = with_work([s.id for s in subscribers], using=self.using) if subscribers else set()
        for subscriber in subscribers:
            if subscriber.id in busy:
                began, after = time.monotonic(), self._last_keys.get(subscriber.id, "")
                share = self._wanted(subscriber).share
                rows = claim_guarded(subscriber, share, after=after, using=self.using)
                self._last_keys[subscriber.id] = max((r.ordering_key for r in rows if r.ordering_key), default="")
                done += self._deliver(rows, began)
        return done

    def _suspects(self, subscribers: Sequence[Subscriber]) -> int:
        began = time.monotonic()
        return self._deliver(claim_suspect([self._wanted(s) for s in subscribers], using=self.using), began)

    def _probes(self, subscribers: Sequence[Subscriber]) -> int:
        done = 0
        for subscriber in subscribers:
            began = time.monotonic()
            done += self._deliver(claim_probe(subscriber, using=self.using), began)
        return done

    def _deliver(self, rows: Sequence[Claimed], began: float) -> int:
        """Deliver what was claimed: who was served longest ago comes first, so that a lease never ends on the same."""
        batches: dict[int, list[Claimed]] = {}
        for row in rows:
            batches.setdefault(row.subscription, []).append(row)
        waiting = sorted(batches, key=lambda subscription: self._turns.get(subscription, 0.0))
        done = 0
        try:
            while waiting:
                subscription = waiting.pop(0)
                done += self._deliver_one(self._served[subscription], batches[subscription], began)
        except BaseException:
            hand_back([row.key for subscription in waiting for row in batches[subscription]], using=self.using)
            raise
        return done

    def _deliver_one(self, subscriber: Subscriber, rows: Sequence[Claimed], began: float) -> int:
        started = time.monotonic()
        done = deliver(Batch(subscriber, rows, self.transport, began + subscriber.lease, self.using))
        self._paces[subscriber.id] = self._pace(subscriber).after(done, time.monotonic() - started)
        if done:
            self._turns[subscriber.id] = started
        return done

    def _pace(self, subscriber: Subscriber) -> Pace:
        return self._paces.get(subscriber.id, Pace())

    def _wanted(self, subscriber: Subscriber) -> Wanted:
        share = self._pace(subscriber).share
        if subscriber.mode == SubscriptionMode.BATCH:
            share = max(1, share // subscriber.batch_size) * subscriber.batch_size
        return Wanted(subscriber.id, share, subscriber.lease)
