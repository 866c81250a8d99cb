"""Gather what became of a batch's messages, and settle it in bulk at a bounded interval."""

import math
import time
from collections.abc import Collection, Iterable, Mapping
from http import HTTPStatus
from typing import Any

from django.db import Error, connections

from datapunk_broker import signals
from datapunk_broker.engine.disable import disable
from datapunk_broker.engine.fail import MESSAGE_FAULTS
from datapunk_broker.engine.hold import Key
from datapunk_broker.engine.publish import check_each
from datapunk_broker.engine.roster import Subscriber
from datapunk_broker.engine.settle import Reply, Verdicts, settle
from datapunk_broker.exceptions import BrokerError, EndpointFailedError
from datapunk_broker.pump.answers import reply_of
from datapunk_broker.pump.batch import Batch, Message, key_in, key_of
from datapunk_broker.pump.rescue import let_lapse, reconnect
from datapunk_broker.pump.wake import stopping
from datapunk_broker.retry import reason_of
from datapunk_broker.transports import Outcome

FLUSH_EVERY = 0.25
"""Seconds that a handled message waits at most, while others are handled, until its ack is written."""


class Ledger:
    """The claims of one batch: those that have a verdict, those settled, and those still open.

    started: how many were handled, well or not. lost: how many were another's when they were to be settled.
    gone: a webhook's endpoint said that it will not come back.
    """

    def __init__(self, batch: Batch) -> None:
        self.subscriber, self.using = batch.subscriber, batch.using
        self.roster: Mapping[int, Subscriber] = {batch.subscriber.id: batch.subscriber}
        self.open: dict[Key, None] = dict.fromkeys(batch.keys)
        self.interrupted: list[Key] = []
        self.started = self.lost = self.succeeded = self._failing = 0
        self.gone = False
        self._asking: dict[Key, Message] = {}
        self._begin()

    def _begin(self) -> None:
        self.acked: list[Key] = []
        self.failed: dict[Key, Exception] = {}
        self.shared: set[Key] = set()
        self.released: list[Key] = []
        self.replies: dict[Key, Reply] = {}
        self.in_a_row = 0
        self._flushed_at = time.monotonic()

    @property
    def untouched(self) -> list[Key]:
        """The claims that nobody has started on."""
        return [*self.released, *self.open]

    def expect_replies(self, messages: Iterable[Message]) -> None:
        """Publish what is returned for those messages that name where to."""
        self._asking = {key_of(m): m for m in messages if m.reply_to is not None}

    def note(self, outcome: Outcome) -> None:
        """Take down one outcome."""
        key = key_in(outcome.ack_id)
        self.open.pop(key, None)
        if outcome.interrupted:
            self.interrupted.append(key)
        elif not outcome.started:
            self.released.append(key)
        elif outcome.error is not None:
            self.fail(key, outcome.error, shared=outcome.shared)
        else:
            self._handled(key, outcome.reply)

    def fail(self, key: Key, error: Exception, *, shared: bool = False) -> None:
        """Take down a failure."""
        self.open.pop(key, None)
        self.count(error)
        self.failed[key] = error
        if shared:
            self.shared.add(key)

    def spent(self, keys: Collection[Key], held: Collection[Key]) -> None:
        """Take down claims that were settled before they are handled."""
        for key in keys:
            self.open.pop(key, None)
        self.lost += len(keys) - len(held)

    def count(self, error: Exception | None) -> None:
        """Count one that was handled, well or not; a fault of the message's own says nothing of the subscriber."""
        self.started += 1
        self.gone = self.gone or (isinstance(error, EndpointFailedError) and error.status == HTTPStatus.GONE)
        if error is None:
            self.succeeded += 1
            self._failing = self.in_a_row = 0
        elif reason_of(error) not in MESSAGE_FAULTS:
            self._failing += 1
            self.in_a_row += 1

    def goes_on(self) -> bool:
        """Return whether to start on one more: no breaker opens by what is known, nothing is gone, no pump stops."""
        breaker = self.subscriber.breaker
        return not (stopping.is_set() or self.gone) and (breaker is None or self._failing < breaker.failures)

    def is_due(self) -> bool:
        """Return whether what is gathered has waited long enough."""
        return time.monotonic() - self._flushed_at >= FLUSH_EVERY

    def flush(self) -> None:
        """Settle what is gathered. Where that fails it stays gathered, for ``close`` to try again."""
        self._flushed_at = math.inf
        self._check_replies()
        verdicts = Verdicts(self.acked, self.failed, self.shared, self.released, self.replies, self.in_a_row)
        asked = len(self.acked) + len(self.failed) + len(self.released)
        if asked:
            self.lost += asked - len(self._settle(verdicts))
        self._begin()

    def close(self) -> None:
        """Settle what is gathered, and hand back what nobody has started on."""
        self.released.extend(self.open)
        self.open.clear()
        self.flush()
        let_lapse(self.interrupted, using=self.using)
        if self.gone:
            disable(self.subscriber, using=self.using)
        if self.lost:
            about = {"subscription": self.subscriber.name, "topic": self.subscriber.topic, "count": self.lost}
            signals.announce(signals.claims_lost, sender=Ledger, **about)

    def _settle(self, verdicts: Verdicts) -> frozenset[Key]:
        try:
            return self._apply(verdicts)
        except Error:
            if connections[self.using].in_atomic_block:
                raise
            # A handler may have broken the connection. Whatever the first try has done, the tokens fence it.
            reconnect(self.using)
            return self._apply(verdicts)

    def _apply(self, verdicts: Verdicts) -> frozenset[Key]:
        try:
            return settle(verdicts, self.roster, using=self.using)
        except BrokerError as error:
            # A reply's topic filled up since it was checked: those that reply try again, the others are settled.
            if not verdicts.replies:
                raise
            acked = [key for key in verdicts.acked if key not in verdicts.replies]
            failed = {**verdicts.failed, **dict.fromkeys(verdicts.replies, error)}
            again = Verdicts(acked, failed, verdicts.shared, verdicts.released, in_a_row=verdicts.in_a_row)
            return settle(again, self.roster, using=self.using)

    def _handled(self, key: Key, value: Any) -> None:
        message = self._asking.get(key)
        if message is not None and (reply := reply_of(message, value)):
            self.replies[key] = reply
        self.count(None)
        self.acked.append(key)

    def _check_replies(self) -> None:
        """Let those fail whose reply its topic does not take."""
        by_topic: dict[str, list[Key]] = {}
        for key, reply in self.replies.items():
            by_topic.setdefault(reply.topic, []).append(key)
        for topic, keys in by_topic.items():
            problems = check_each(topic, [self.replies[key].message() for key in keys], using=self.using)
            self.failed |= {key: problem for key, problem in zip(keys, problems, strict=True) if problem}
        self.replies = {key: reply for key, reply in self.replies.items() if key not in self.failed}
        self.acked = [key for key in self.acked if key not in self.failed]
