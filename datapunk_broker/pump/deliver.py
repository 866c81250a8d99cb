"""Take one claimed batch of one subscription to its subscriber, as its delivery mode promises."""

import math
from collections.abc import Mapping
from typing import Any

from django.db import Error

from datapunk_broker.engine.breakers import count
from datapunk_broker.engine.fail import note
from datapunk_broker.engine.hold import Key
from datapunk_broker.engine.settle import Verdicts, settle
from datapunk_broker.exceptions import BrokerError
from datapunk_broker.pump.answers import answer
from datapunk_broker.pump.batch import Batch, Message, key_in, key_of
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
    """Ack, then handle. With a breaker in groups of what it lets fail, so that it opens with the others still held."""
    messages, unreadable = batch.open()
    by_key = {key_of(message): message for message in messages}
    size = _held_back_by(batch) or len(batch.keys)
    try:
        for start in range(0, len(batch.keys), size):
            if not ledger.goes_on():
                break
            _spend(batch, ledger, batch.keys[start : start + size], by_key, unreadable)
    finally:
        ledger.close()


def _held_back_by(batch: Batch) -> int:
    """Return how many failures a breaker lets through, in whole lists where the subscriber takes lists; 0: none."""
    breaker, step = batch.subscriber.breaker, batch.subscriber.batch_size if batch.is_batch else 1
    return math.ceil(breaker.failures / step) * step if breaker else 0


def _spend(
    batch: Batch, ledger: Ledger, keys: list[Key], by_key: Mapping[Key, Message], unreadable: Mapping[Key, Exception]
) -> None:
    held = settle(Verdicts(acked=keys, early=True), ledger.roster, using=batch.using)
    ledger.spent(keys, held)
    failed = {key: error for key, error in unreadable.items() if key in held}
    waiting = {by_key[key].ack_id: by_key[key] for key in keys if key in held and key in by_key}

    def report(outcome: Outcome) -> None:
        if outcome.interrupted:
            return
        message = waiting.pop(outcome.ack_id)
        error = outcome.error or _answer(message, outcome.reply, batch.using)
        ledger.count(error)
        if error is not None:
            failed[key_of(message)] = error

    try:
        errand = batch.errand(list(waiting.values()), lambda: True, lease_end=math.inf)
        batch.transport.deliver(errand, report)
    finally:
        for ack_id in waiting:
            failed[key_in(ack_id)] = RuntimeError("The worker was stopped before the message was handled.")
        rows = {row.key: row for row in batch.rows}
        note([(rows[key], error) for key, error in failed.items()], ledger.roster, using=batch.using)
        count(batch.subscriber, acked=ledger.succeeded, failed=ledger.in_a_row, using=batch.using)
        ledger.succeeded = ledger.in_a_row = 0


def _answer(message: Message, reply: Any, using: str) -> Exception | None:
    try:
        answer(message, reply, using=using)
    except BrokerError as error:
        return error
    return None
