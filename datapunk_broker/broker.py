"""The broker's public verbs: ``from datapunk_broker import broker``, then ``broker.publish("orders", {"id": 7})``.

The verbs of this module are the methods of one ``MessageBroker`` made from the settings. A publish is part of the
caller's database transaction: it commits, and rolls back, with the rows that go with it.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from reprlib import repr as short
from typing import Any, Generic, TypeVar, Unpack

from asgiref.sync import sync_to_async
from django.db import transaction
from django.db.models import QuerySet

from datapunk_broker.administration import Administration
from datapunk_broker.breaker import BreakerPolicy
from datapunk_broker.conf.options import seconds
from datapunk_broker.engine import audit as audit_engine
from datapunk_broker.engine import explain as explain_engine
from datapunk_broker.engine import publish as publish_engine
from datapunk_broker.engine import pull as pull_engine
from datapunk_broker.engine import redrive as redrive_engine
from datapunk_broker.engine import seek as seek_engine
from datapunk_broker.engine import stats as stats_engine
from datapunk_broker.engine import topology
from datapunk_broker.envelope import Headers, Outgoing, Receipt, Received, Settlement
from datapunk_broker.exceptions import BatchFailures, BrokerError, Nack, PayloadInvalidError, Reject, RetryAfter
from datapunk_broker.handles import PublishOptions, SubscribeOptions, Topic, config_of
from datapunk_broker.models import DeadLetter, Subscription
from datapunk_broker.registry import Handler, registry
from datapunk_broker.retry import RetryPolicy

T = TypeVar("T")
P = TypeVar("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

Delay = timedelta | float

_seconds = seconds()


class MessageBroker(Administration, Generic[T, R]):
    """The broker on one database. T: what is published; R: what handlers return."""

    def publish(self, topic: str, payload: T, **options: Unpack[PublishOptions]) -> Receipt:
        """Publish one message in the caller's transaction; ``Outgoing`` says what the options are.

        Raises TopicNotFoundError, PayloadInvalidError, MessageTooLargeError, SchemaMismatchError, QueueFullError.
        """
        return self.publish_many(topic, [Outgoing(payload, **options)])[0]

    def publish_many(self, topic: str, messages: Iterable[Outgoing[T]]) -> tuple[Receipt, ...]:
        """Publish many messages to one topic, all or none; their receipts in the same order."""
        return publish_engine.publish(topic, _outgoing(messages), using=self.using)

    async def apublish(self, topic: str, payload: T, **options: Unpack[PublishOptions]) -> Receipt:
        """Publish from asynchronous code."""
        return await sync_to_async(self.publish)(topic, payload, **options)

    async def apublish_many(self, topic: str, messages: Iterable[Outgoing[T]]) -> tuple[Receipt, ...]:
        """Publish many from asynchronous code."""
        return await sync_to_async(self.publish_many)(topic, messages)

    def topic(self, name: str, type: type[P]) -> Topic[P]:  # noqa: A002 - reads as it is meant
        """Return a topic whose payloads have a type."""
        return Topic(self, name, type)

    def subscriber(
        self, topic: str | Topic[Any], name: str | None = None, **options: Unpack[SubscribeOptions]
    ) -> Callable[[F], F]:
        """Declare the function below as a subscription's handler; ``migrate`` and ``broker_sync`` make its row.

        name: the subscription's, the function's by default.
        A function whose parameter is annotated as a list of messages is called with batches.
        Raises ConfigInvalidError.
        """

        def declare(function: F) -> F:
            registry.add(Handler.of(function, config_of(name, str(topic), function, options)))
            return function

        return declare

    def subscribe(
        self, topic: str, callback: Callable[[Received[Any]], R], name: str, **options: Unpack[SubscribeOptions]
    ) -> Subscription:
        """Subscribe a function at run time: the row is there when this returns, and goes with the transaction.

        Workers in other processes import the function; one that cannot be imported serves in this process alone.
        Raises what ``create_subscription`` raises.
        """
        handler = Handler.of(callback, config := config_of(name, topic, callback, options))
        registry.check(handler)
        with transaction.atomic(using=self.using):
            # Before the row, so that the function is there when others are told of it.
            registry.serve(handler, using=self.using)
            return topology.create_subscription(config, using=self.using)

    def unsubscribe(self, name: str) -> None:
        """Delete a subscription and what it is still owed; its function is forgotten after the commit."""
        with transaction.atomic(using=self.using):
            topology.delete_subscription(name, using=self.using)
            transaction.on_commit(partial(registry.remove, name), using=self.using)

    def pull(self, subscription: str, max_messages: int = 100, *, payload_type: Any = Any) -> list[Received[Any]]:
        """Claim messages of a pull subscription for its ack deadline; never waits.

        payload_type: what the payloads are made into; ``msgspec.Raw`` keeps their bytes.
        """
        return pull_engine.pull(subscription, max_messages=max_messages, payload_type=payload_type, using=self.using)

    def ack(self, ack_ids: Iterable[str], *, subscription: str | None = None) -> Settlement:
        """Settle messages as handled."""
        return pull_engine.settle_pulled(ack_ids, subscription=subscription, using=self.using)

    def nack(
        self, ack_ids: Iterable[str], delay: Delay | None = None, *, subscription: str | None = None
    ) -> Settlement:
        """Charge a failed attempt; again after ``delay``, or when the retry policy says, or a dead letter.

        Raises ConfigInvalidError for a delay that is none.
        """
        error = Nack() if delay is None else RetryAfter(_seconds("delay", delay))
        return pull_engine.settle_pulled(ack_ids, error, subscription=subscription, using=self.using)

    def reject(self, ack_ids: Iterable[str], reason: str = "", *, subscription: str | None = None) -> Settlement:
        """Make dead letters of messages that can never be handled."""
        return pull_engine.settle_pulled(ack_ids, Reject(reason), subscription=subscription, using=self.using)

    def extend(self, ack_ids: Iterable[str], by: Delay, *, subscription: str | None = None) -> Settlement:
        """Keep messages for ``by`` from now (seconds or a timedelta), a week at most; raises ConfigInvalidError."""
        lease = timedelta(seconds=_seconds("by", by))
        return pull_engine.extend_pulled(ack_ids, lease, subscription=subscription, using=self.using)

    def redrive(
        self,
        dead_letters: QuerySet[DeadLetter] | Mapping[str, Any],
        payload: Any = None,
        *,
        dry_run: bool = False,
        rate: float | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> redrive_engine.Redriven:
        """Deliver dead letters again, with another payload if one is given, at most ``rate`` a second."""
        edited = redrive_engine.MISSING if payload is None else payload
        return redrive_engine.redrive(
            dead_letters, payload=edited, dry_run=dry_run, rate=rate, progress=progress, using=self.using
        )

    def seek(self, subscription: str, to: datetime | int) -> seek_engine.Sought:
        """Deliver again what was published at or after a time, or behind a position of the topic's stream."""
        return seek_engine.seek(subscription, to=to, using=self.using)

    def explain(self, topic: str, routing_key: str = "", headers: Headers | None = None) -> explain_engine.Explanation:
        """Say which subscriptions such a message would reach, and why the others not."""
        return explain_engine.explain(topic, routing_key=routing_key, headers=headers, using=self.using)

    def stats(self) -> stats_engine.Stats:
        """Count what is there."""
        return stats_engine.stats(using=self.using)

    get_stats = stats

    def audit(self, subscription: str | None = None) -> tuple[audit_engine.AuditLine, ...]:
        """Hold what was published and matched against what became of it, subscription by subscription."""
        return audit_engine.audit(using=self.using, subscription=subscription)


def _outgoing(messages: Iterable[Outgoing[Any]]) -> list[Outgoing[Any]]:
    given = list(messages) if isinstance(messages, Iterable) else [messages]
    if strangers := [message for message in given if not isinstance(message, Outgoing)]:
        problem = f"must each be an Outgoing(payload, …), not {short(strangers[0])}"
        raise PayloadInvalidError("messages", problem)
    return given


_default: MessageBroker[Any, Any] = MessageBroker()

publish, publish_many = _default.publish, _default.publish_many
apublish, apublish_many = _default.apublish, _default.apublish_many
topic, subscriber, subscribe, unsubscribe = (
    _default.topic,
    _default.subscriber,
    _default.subscribe,
    _default.unsubscribe,
)
pull, ack, nack, reject, extend = (
    _default.pull,
    _default.ack,
    _default.nack,
    _default.reject,
    _default.extend,
)
redrive, seek, explain = _default.redrive, _default.seek, _default.explain
read_stream, stream_ends, stream_heads = _default.read_stream, _default.stream_ends, _default.stream_heads
position_at, release, with_messages = _default.position_at, _default.release, _default.with_messages
stats, get_stats, audit, totals = _default.stats, _default.get_stats, _default.audit, _default.totals
pause, resume = _default.pause, _default.resume
create_topic, update_topic, delete_topic = _default.create_topic, _default.update_topic, _default.delete_topic
create_subscription, update_subscription, delete_subscription = (
    _default.create_subscription,
    _default.update_subscription,
    _default.delete_subscription,
)
sync, sweep, prune, discard = _default.sync, _default.sweep, _default.prune, _default.discard
count_published, look_at_pumps = _default.count_published, _default.look_at_pumps
export_topology, import_topology = _default.export_topology, _default.import_topology

__all__ = [
    "BatchFailures",
    "BreakerPolicy",
    "BrokerError",
    "MessageBroker",
    "Outgoing",
    "Receipt",
    "Received",
    "Reject",
    "RetryAfter",
    "RetryPolicy",
    "Settlement",
    "Topic",
]
