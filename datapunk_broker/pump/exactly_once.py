"""Exactly once: the handlers of a batch, what they write and their acks are one transaction.

The claims are checked by their tokens first, and their rows stay locked to the end: however long it takes,
nobody else can claim them. A group of messages shares a savepoint; where one of them fails, the group is undone
and done again one by one, so that the effects of that one alone are missing.
"""

import math
from collections.abc import Sequence

from django.db import Error, OperationalError, transaction
from django.db.transaction import TransactionManagementError

from datapunk_broker.engine.hold import Key, hold, release
from datapunk_broker.engine.settle import Verdicts, settle
from datapunk_broker.exceptions import BrokerError
from datapunk_broker.pump.answers import answer
from datapunk_broker.pump.batch import Batch, Message, key_of
from datapunk_broker.pump.ledger import Ledger
from datapunk_broker.pump.rescue import let_lapse, reconnect
from datapunk_broker.transports import Outcome

GROUP = 10
"""Messages that share a savepoint, where they are handled one by one."""


LEFT_BROKEN = "A handler returned, but left its transaction to be rolled back."
LOST = "The connection was lost in the middle of a transaction."


class _UndoneError(Exception):
    """Takes a savepoint back."""


def exactly_once(batch: Batch, ledger: Ledger) -> None:
    """Handle the batch in one transaction; what ends the process is raised once what was done is committed."""
    work = _Work(batch, ledger)
    try:
        with transaction.atomic(using=batch.using):
            work.do()
    except BaseException as error:
        work.recover(error)
        raise
    if work.stopped is not None:
        raise work.stopped


class _Work:
    """One such transaction. in_hand: the claims of the group that is under way."""

    def __init__(self, batch: Batch, ledger: Ledger) -> None:
        self.batch, self.ledger, self.using = batch, ledger, batch.using
        self.in_hand: list[Key] = []
        self.blocked: set[str] = set()
        self.stopped: BaseException | None = None

    def do(self) -> None:
        """Handle what is still held, and settle it."""
        held = hold(self.batch.keys, using=self.using)
        messages, unreadable = self.batch.open()
        for key, error in unreadable.items():
            self.ledger.fail(key, error)
        mine = [message for message in messages if key_of(message) in held]
        size = self.batch.subscriber.batch_size if self.batch.is_batch else GROUP
        for start in range(0, len(mine), size):
            self._group(mine[start : start + size], self.batch.lease_end)
        self.in_hand = self.batch.keys
        self.ledger.close()

    def recover(self, error: BaseException) -> None:
        """Give the claims back, for nothing of the transaction is left; one alone in hand has broken it."""
        reconnect(self.using)
        untouched = [key for key in self.batch.keys if key not in self.in_hand]
        if len(self.in_hand) == 1 and isinstance(error, Exception):
            verdicts = Verdicts(failed=dict.fromkeys(self.in_hand, error), released=untouched)
            settle(verdicts, self.ledger.roster, using=self.using)
            return
        release(untouched, using=self.using)
        let_lapse(self.in_hand, using=self.using)

    def _group(self, messages: Sequence[Message], lease_end: float) -> None:
        """Handle a group; what is not noted of it is handed back in the end."""
        ready = [message for message in messages if self._is_free(message)]
        outcomes = self._in_savepoint(ready, lease_end) if ready else {}
        if len(ready) > 1 and any(outcome.error for outcome in outcomes.values()):
            if not self.batch.is_batch:
                for message in ready:
                    self._group([message], math.inf)
                return
            outcomes = self._without_failures(ready, outcomes)
        for message in ready:
            if outcome := outcomes.get(message.ack_id):
                self._note(message, outcome)

    def _is_free(self, message: Message) -> bool:
        return self.stopped is None and self.ledger.goes_on() and message.ordering_key not in self.blocked

    def _note(self, message: Message, outcome: Outcome) -> None:
        self.ledger.note(outcome)
        if self.batch.subscriber.ordering and outcome.error is not None and message.ordering_key is not None:
            self.blocked.add(message.ordering_key)

    def _without_failures(self, messages: Sequence[Message], outcomes: dict[str, Outcome]) -> dict[str, Outcome]:
        """Handle a list again without those that failed in it, for its effects were undone with theirs."""
        known: dict[str, Outcome] = {}
        while any(outcome.error for outcome in outcomes.values()):
            known |= {o.ack_id: o for o in outcomes.values() if o.error or not o.started}
            messages = [message for message in messages if message.ack_id not in known]
            outcomes = self._in_savepoint(messages, math.inf) if messages else {}
        return known | outcomes

    def _in_savepoint(self, messages: Sequence[Message], lease_end: float) -> dict[str, Outcome]:
        """Return the outcomes by ack id; the effects of all are undone if one of them has an error."""
        self.in_hand = [key_of(message) for message in messages]
        outcomes: dict[str, Outcome] = {}
        broken: Exception | None = None
        try:
            with transaction.atomic(using=self.using):
                self._handle(messages, outcomes, lease_end)
        except _UndoneError:
            broken = next(outcome.error for outcome in outcomes.values() if outcome.error)
        except Error as error:
            # A handler went on after a statement of its own had failed, or marked the transaction to be undone.
            broken, shared = error, len(messages) > 1
            outcomes = {m.ack_id: Outcome(m.ack_id, error, shared=shared) for m in messages}
        except Exception:
            raise
        except BaseException as stop:  # noqa: BLE001 - raised when what was done before it is committed
            self.stopped = stop
            outcomes = {o.ack_id: o for o in outcomes.values() if o.interrupted}
        if transaction.get_rollback(using=self.using):
            raise self.stopped or OperationalError(LOST) from broken
        self.in_hand = []
        return outcomes

    def _handle(self, messages: Sequence[Message], outcomes: dict[str, Outcome], lease_end: float) -> None:
        by_ack_id = {message.ack_id: message for message in messages}

        def report(outcome: Outcome) -> None:
            outcomes[outcome.ack_id] = self._answered(by_ack_id[outcome.ack_id], outcome)

        def goes_on() -> bool:
            return self.ledger.goes_on() and not any(outcome.error for outcome in outcomes.values())

        errand = self.batch.errand(messages, goes_on, lease_end=lease_end)
        self.batch.transport.deliver(errand, report)
        if any(outcome.error for outcome in outcomes.values()):
            raise _UndoneError
        if transaction.get_rollback(using=self.using):
            raise TransactionManagementError(LEFT_BROKEN)

    def _answered(self, message: Message, outcome: Outcome) -> Outcome:
        try:
            answer(message, outcome.reply, using=self.using)
        except BrokerError as error:
            return Outcome(message.ack_id, error)
        return Outcome(outcome.ack_id, outcome.error, outcome.started, None, outcome.shared, outcome.interrupted)
