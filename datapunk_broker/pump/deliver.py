"""Take one claimed batch of one subscription to its subscriber, as its delivery mode promises."""

import math

from django.db import Error

from datapunk_broker.engine.fail import note
from datapunk_broker.engine.hold import Key
from datapunk_broker.engine.settle import Verdicts, settle
from datapunk_broker.exceptions import BrokerError
from datapunk_broker.pump.answers import answer
from datapunk_broker.pump.batch import Batch, key_in, key_of
from datapunk_broker.pump.exactly_once import exactly_once
from datapunk_broker.pump.ledger import Ledger
from datapunk_broker.pump.rescue import hand_back
from datapunk_broker.states import DeliveryMode
from datapunk_broker.transports import Outcome


def deliver(batch: Batch) -> int:
    """Deliver the batch and settle it; return how many of its messages were handled, well or not.

    What was not started is handed back, whatever happens.
    """
    ledger = Ledger(batch)
    mode = batch.subscriber.delivery_mode
    if mode == DeliveryMode.EXACTLY_ONCE:
        exactly_once(batch, ledger)
        return ledger.started
    try:
        if mode == DeliveryMode.AT_MOST_ONCE:
            _at_most_once(batch, ledger)
        else:
            _at_least_once(batch, ledger)
    except Error:
        hand_back(ledger.untouched, using=batch.using)
        raise
    return ledger.started


def _at_least_once(batch: Batch, ledger: Ledger) -> None:
    def report(outcome: Outcome) -> None:
        ledger.note(outcome)
        if ledger.is_due():
            ledger.flush()

    try:
        messages, unreadable = batch.open()
        for key, error in unreadable.items():
            ledger.fail(key, error)
        ledger.expect_replies(messages)
        batch.transport.deliver(batch.errand(messages, ledger.goes_on), report)
    finally:
        ledger.close()


def _at_most_once(batch: Batch, ledger: Ledger) -> None:
    messages, failed = batch.open()
    held = settle(Verdicts(acked=batch.keys), ledger.roster, using=batch.using)
    ledger.open.clear()
    mine = {message.ack_id: message for message in messages if key_of(message) in held}
    waiting = dict(mine)

    def report(outcome: Outcome) -> None:
        message, ledger.started = waiting.pop(outcome.ack_id), ledger.started + 1
        try:
            if outcome.error is not None:
                failed[key_of(message)] = outcome.error
            elif outcome.interrupted:
                waiting[outcome.ack_id] = message
            else:
                answer(message, outcome.reply, using=batch.using)
        except BrokerError as error:
            failed[key_of(message)] = error

    try:
        errand = batch.errand(list(mine.values()), lambda: True, lease_end=math.inf)
        batch.transport.deliver(errand, report)
    finally:
        for ack_id in waiting:
            failed[key_in(ack_id)] = RuntimeError("The worker was stopped before the message was handled.")
        _note(batch, ledger, {key: error for key, error in failed.items() if key in held})


def _note(batch: Batch, ledger: Ledger, failed: dict[Key, Exception]) -> None:
    rows = {row.key: row for row in batch.rows}
    note([(rows[key], error) for key, error in failed.items()], ledger.roster, using=batch.using)
