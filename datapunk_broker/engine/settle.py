"""End or return claims, each fenced by the token of its claim."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from datapunk_broker import signals
from datapunk_broker.engine.breakers import lock_breakers, turn_breakers
from datapunk_broker.engine.dialects import dialect_of
from datapunk_broker.engine.fail import fail
from datapunk_broker.engine.hold import Key, release
from datapunk_broker.engine.publish import publish
from datapunk_broker.engine.roster import Subscriber
from datapunk_broker.envelope import Outgoing
from datapunk_broker.states import Settled


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler returned, for the topic that its message named."""

    topic: str
    payload: Any
    correlation_id: str | None

    def message(self) -> Outgoing[Any]:
        """Return the message that carries it."""
        return Outgoing(self.payload, correlation_id=self.correlation_id)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What is to become of a batch of claims.

    failed: with what was raised. shared: of these, the ones that failed together; each is claimed alone next time.
    released: never started, they go back unharmed. replies: published if acked.
    in_a_row: how many failed after the last that was acked; None: as many as failed.
    early: the acked are yet to be handled, so a breaker learns nothing from them.
    """

    acked: Sequence[Key] = ()
    failed: Mapping[Key, Exception] = field(default_factory=dict)
    shared: Collection[Key] = ()
    released: Sequence[Key] = ()
    replies: Mapping[Key, Reply] = field(default_factory=dict)
    in_a_row: int | None = None
    early: bool = False


def settle(verdicts: Verdicts, roster: Mapping[int, Subscriber], *, using: str) -> frozenset[Key]:
    """Apply the verdicts in one transaction and return the claims that were still held.

    Acks alone are one statement. A claim that is missing from the answer was lost: its lease ran out and the
    delivery is another's, so nothing was done for it. ``roster`` has the claims' subscriptions.
    A reply that cannot be published raises a BrokerError and undoes the whole: check it first.
    """
    turns = not verdicts.early and any(subscriber.breaker for subscriber in roster.values())
    if not (verdicts.failed or verdicts.released or verdicts.replies or turns):
        return frozenset(_ack(verdicts.acked, roster, using))
    with transaction.atomic(using=using):
        breakers = lock_breakers(roster, failing=bool(verdicts.failed), using=using) if turns else []
        acked = _ack(verdicts.acked, roster, using)
        # Before the failures, which hand back what was claimed behind them: that would look lost.
        released = release(verdicts.released, using=using)
        failed = fail(verdicts.failed, roster, shared=verdicts.shared, using=using)
        _reply([reply for key, reply in verdicts.replies.items() if key in acked], using)
        in_a_row = {pk: _at_most(count, verdicts.in_a_row) for pk, count in failed.counted.items()}
        turn_breakers(breakers, Counter(acked.values()), in_a_row, roster, using=using)
    return frozenset(acked) | failed.held | released


def _at_most(count: int, limit: int | None) -> int:
    return count if limit is None else min(count, limit)


def _ack(keys: Sequence[Key], roster: Mapping[int, Subscriber], using: str) -> dict[Key, int]:
    if not keys:
        return {}
    gone = dialect_of(using).ack(keys)
    for subscription, count in Counter(gone.values()).items() if signals.settled.receivers else ():
        names = {"subscription": roster[subscription].name, "topic": roster[subscription].topic}
        signals.announce_on_commit(
            signals.settled, sender=settle, using=using, **names, outcome=Settled.ACKED, count=count
        )
    return gone


def _reply(replies: Sequence[Reply], using: str) -> None:
    by_topic: dict[str, list[Outgoing[Any]]] = {}
    for reply in replies:
        by_topic.setdefault(reply.topic, []).append(reply.message())
    for topic, messages in by_topic.items():
        publish(topic, messages, using=using)
