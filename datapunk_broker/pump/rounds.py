"""One round: claim across all subscriptions of a transport, then deliver and settle, subscription by subscription."""

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from datapunk_broker.engine.claim import (
    claim,
    claim_guarded,
    claim_probe,
    claim_suspect,
    with_probe_due,
    with_suspects,
    with_work,
)
from datapunk_broker.engine.roster import Roster, Subscriber
from datapunk_broker.engine.rows import Claimed, Wanted
from datapunk_broker.exceptions import ConfigInvalidError
from datapunk_broker.pump.batch import Batch
from datapunk_broker.pump.deliver import deliver
from datapunk_broker.pump.pace import IDLE, LARGEST, Allowance, Pace, rest
from datapunk_broker.pump.rescue import hand_back
from datapunk_broker.states import SubscriptionMode
from datapunk_broker.transports import Transport

LOOK_EVERY = 0.5
"""Seconds between looks for suspects and open breakers while ordinary work goes on."""


class Rounds:
    """The rounds of one pump; it remembers each subscriber's pace, its last turn and whether it is left alone."""

    def __init__(self, kind: str, transport: Transport, *, using: str) -> None:
        self.transport, self.using = transport, using
        self.roster = Roster(kind, using)
        self._known: dict[int, Subscriber] = {}
        self._served: dict[int, Subscriber] = {}
        self._paces: dict[int, Pace] = {}
        self._turns: dict[int, float] = {}
        self._resting: dict[int, float] = {}
        self._suspects_resting: dict[int, float] = {}
        self._looked_at = -1e9
        self._allowance = Allowance()
        self._suspects_wait = False
        self._last_suspected = 0

    def __call__(self) -> int:
        """Do one round; return how many messages were handled."""
        began = time.monotonic()
        self._read_roster()
        flowing = [s for s in self._served.values() if s.breaker_closed]
        done = self._plain([s for s in flowing if not s.guarded])
        done += self._guarded([s for s in flowing if s.guarded])
        now = time.monotonic()
        looks = not done or now - self._looked_at >= LOOK_EVERY
        self._allowance = self._allowance.after_work(now - began) if done else IDLE
        if self._allowance.seconds > 0 and (looks or self._suspects_wait):
            done += self._suspects(flowing)
        if looks:
            self._looked_at = now
            done += self._probes([s for s in self._served.values() if not s.breaker_closed])
        return done

    def wake(self) -> None:
        """Leave nobody alone any longer: there is news."""
        self._resting.clear()
        self._suspects_resting.clear()

    def _read_roster(self) -> None:
        known = self.roster.current()
        if known is not self._known:
            self._known = known
            self._served = {s.id: s for s in known.values() if self._serves(s)}

    def _serves(self, subscriber: Subscriber) -> bool:
        is_batch = subscriber.mode == SubscriptionMode.BATCH
        try:
            self.transport.payload_type(subscriber.name, subscriber.topic, subscriber.handler, batch=is_batch)
        except ConfigInvalidError:
            return False  # Another process may have the handler; a system check names it.
        return True

    def _plain(self, subscribers: Sequence[Subscriber]) -> int:
        began = time.monotonic()
        return self._deliver(claim([self._wanted(s) for s in subscribers], limit=LARGEST, using=self.using), began)

    def _guarded(self, subscribers: Sequence[Subscriber]) -> int:
        done = 0
        asked = _rested(subscribers, self._resting)
        busy = with_work([s.id for s in asked], using=self.using) if asked else set()
        for subscriber in asked:
            if subscriber.id in busy:
                began = time.monotonic()
                rows = claim_guarded(subscriber, self._wanted(subscriber).share, using=self.using, suspects=False)
                if not rows:
                    self._resting[subscriber.id] = _rest_since(began)
                done += self._deliver(rows, began)
        return done

    def _suspects(self, subscribers: Sequence[Subscriber]) -> int:
        """Deliver suspects one by one, of each subscription in turn, until none is left or they took their time."""
        began, done, waiting = time.monotonic(), 0, deque(self._suspected(subscribers))
        while waiting and (not done or time.monotonic() - began < self._allowance.seconds):
            subscriber, claimed_at = waiting.popleft(), time.monotonic()
            if rows := claim_suspect(subscriber, using=self.using):
                handled = deliver(Batch(subscriber, rows, self.transport, claimed_at + subscriber.lease, self.using))
                self._last_suspected = subscriber.id
                done += handled
                waiting.extend([subscriber] if handled else ())
            else:
                self._suspects_resting[subscriber.id] = _rest_since(claimed_at)
        self._suspects_wait = bool(waiting)
        self._allowance = self._allowance.after_suspects(time.monotonic() - began, left=self._suspects_wait)
        return done

    def _suspected(self, subscribers: Sequence[Subscriber]) -> list[Subscriber]:
        """Return who has suspects: behind the last one served, and then round."""
        asked = _rested(subscribers, self._suspects_resting)
        found = with_suspects([s.id for s in asked], using=self.using) if asked else set()
        last = self._last_suspected
        return sorted((s for s in asked if s.id in found), key=lambda s: (s.id <= last, s.id))

    def _probes(self, subscribers: Sequence[Subscriber]) -> int:
        done = 0
        due = with_probe_due([s.id for s in subscribers], using=self.using) if subscribers else set()
        for subscriber in subscribers:
            if subscriber.breaker is not None and subscriber.id not in due:
                continue
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


def _rested(subscribers: Iterable[Subscriber], resting: Mapping[int, float]) -> list[Subscriber]:
    now = time.monotonic()
    return [s for s in subscribers if resting.get(s.id, now) <= now]


def _rest_since(began: float) -> float:
    """Return the moment until which a subscription is left alone that had nothing to give."""
    now = time.monotonic()
    return now + rest(now - began)
