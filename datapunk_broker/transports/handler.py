"""Call Python handlers: one by one or in batches, synchronous or asynchronous."""

from functools import partial
from typing import Any

from datapunk_broker import signals
from datapunk_broker.envelope import Received
from datapunk_broker.exceptions import ConfigInvalidError
from datapunk_broker.registry import Handler, registry
from datapunk_broker.states import SubscriptionMode
from datapunk_broker.transports.alarm import Alarm
from datapunk_broker.transports.base import Errand, Outcome, Report
from datapunk_broker.transports.connections import mend
from datapunk_broker.transports.coroutines import Calls
from datapunk_broker.transports.loop import call_within, run
from datapunk_broker.transports.order import HeldBack
from datapunk_broker.transports.verdict import VERDICTS, outcomes_of, verdict_of

Message = Received[Any]

unguarded: set[str] = set()
"""The subscriptions of which this process has said that nothing stops their handlers."""


class HandlerTransport:
    """The transport ``handler``."""

    def payload_type(self, subscription: str, topic: str, handler: str, *, batch: bool) -> Any:
        """Return the type that the handler's annotation names; raises ConfigInvalidError where there is none."""
        return _find(subscription, topic, handler, batch=batch).payload_type

    def deliver(self, errand: Errand, report: Report) -> None:
        """Call the subscription's handler for each message, or each batch, that its lease leaves time for."""
        handler = _find(errand.subscription, errand.topic, errand.handler, batch=errand.batch)
        if handler.is_async and not errand.batch:
            Calls(partial(call_within, errand.timeout, handler.function), errand, report).run()
            return
        if not handler.is_async:
            _warn_if_unguarded(errand)
        with Alarm.installed(errand.timeout) as alarm:
            deliver = _in_batches if errand.batch else _one_by_one
            deliver(handler, errand, report, alarm)


def _find(subscription: str, topic: str, path: str, *, batch: bool) -> Handler:
    mode = SubscriptionMode.BATCH if batch else SubscriptionMode.INDIVIDUAL
    handler = registry.find(subscription, path, topic=topic, mode=mode)
    if handler is None:
        raise ConfigInvalidError("handler", registry.why_missing(subscription, path, topic=topic, mode=mode))
    return handler


def _warn_if_unguarded(errand: Errand) -> None:
    if Alarm.works_here() or errand.subscription in unguarded:
        return
    unguarded.add(errand.subscription)
    about = {"subscription": errand.subscription, "timeout": errand.timeout}
    signals.announce(signals.timeout_unguarded, sender=HandlerTransport, **about)


def _one_by_one(handler: Handler, errand: Errand, report: Report, alarm: Alarm) -> None:
    held_back = HeldBack(errand)
    for message in errand.messages:
        if held_back.waits(message) or not errand.fits():
            report(Outcome(message.ack_id, started=False))
            continue
        try:
            outcome = _call(handler, message, alarm)
        except BaseException:
            report(Outcome(message.ack_id, interrupted=True))
            raise
        report(held_back.judge(message, outcome))


def _call(handler: Handler, message: Message, alarm: Alarm) -> Outcome:
    try:
        return Outcome(message.ack_id, reply=alarm.call(handler.function, message))
    except VERDICTS as error:
        return Outcome(message.ack_id, verdict_of(error))
    finally:
        mend()


def _in_batches(handler: Handler, errand: Errand, report: Report, alarm: Alarm) -> None:
    held_back = HeldBack(errand)
    for start in range(0, len(errand.messages), errand.batch_size):
        batch = []
        fits = errand.fits()
        for message in errand.messages[start : start + errand.batch_size]:
            if fits and not held_back.waits(message):
                batch.append(message)
            else:
                report(Outcome(message.ack_id, started=False))
        if batch:
            outcomes = _call_batch(handler, errand.timeout, batch, report, alarm)
            for message, outcome in zip(batch, outcomes, strict=True):
                report(held_back.judge(message, outcome))


def _call_batch(handler: Handler, timeout: float, batch: list[Message], report: Report, alarm: Alarm) -> list[Outcome]:
    try:
        if handler.is_async:
            run(lambda: call_within(timeout, handler.function, batch))
        else:
            alarm.call(handler.function, batch)
    except VERDICTS as error:
        return outcomes_of(batch, error)
    except BaseException:
        for message in batch:
            report(Outcome(message.ack_id, interrupted=True))
        raise
    finally:
        mend()
    return outcomes_of(batch, None)
