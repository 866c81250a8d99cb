"""Write messages and the deliveries they owe, in the caller's transaction."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import msgspec

from datapunk_broker import signals
from datapunk_broker.engine.dialects import dialect_of
from datapunk_broker.engine.live import check_unstored, publish_live
from datapunk_broker.engine.packing import pack
from datapunk_broker.engine.routes import Route, is_current, route_of
from datapunk_broker.engine.rows import NewMessage
from datapunk_broker.envelope import Outgoing, Receipt
from datapunk_broker.exceptions import (
    BrokerError,
    MessageTooLargeError,
    NotPersistentError,
    QueueFullError,
    RoutingUnsettledError,
    SchemaMismatchError,
    TopicNotFoundError,
)
from datapunk_broker.models import Message
from datapunk_broker.states import Transport

STALE_TRIES = 20
"""How often a publish begins again because the bindings changed under it; each time it reads them anew."""

OF_THE_ROUTE = (MessageTooLargeError, NotPersistentError, QueueFullError, SchemaMismatchError)
"""Refusals that rest on what is remembered of the topic, which may have changed."""


def publish(topic: str, messages: Sequence[Outgoing[Any]], *, using: str) -> tuple[Receipt, ...]:
    """Publish messages to one topic, all or none; one statement on PostgreSQL, whatever their number.

    Raises TopicNotFoundError, PayloadInvalidError, MessageTooLargeError, SchemaMismatchError, QueueFullError,
    NotPersistentError; each before anything is written, so the caller's transaction stays usable.
    """
    try:
        return _publish(route_of(topic, using), messages, using)
    except BrokerError as error:
        announce_refusal(topic, error)
        raise


def announce_refusal(topic: str, error: BrokerError) -> None:
    """Tell that a message was refused."""
    known = "unknown" if isinstance(error, TopicNotFoundError) else topic
    signals.announce(signals.publish_refused, sender=publish, topic=known, code=error.code)


def check_each(topic: str, messages: Sequence[Outgoing[Any]], *, using: str) -> list[BrokerError | None]:
    """Return what ``publish`` would refuse each of these messages for; one statement, and write nothing."""
    try:
        route = route_of(topic, using)
        if not is_current(route, using):
            route = route_of(topic, using, fresh=True)
    except TopicNotFoundError as error:
        return [error] * len(messages)
    return [_problem_of(route, message) for message in messages]


def _problem_of(route: Route, message: Outgoing[Any]) -> BrokerError | None:
    try:
        pack(route, message)
        if not route.persistent:
            check_unstored(route, message)
    except BrokerError as error:
        return error
    return None


def publish_to(route: Route, subscription: int, message: Outgoing[Any], *, redriven_from: UUID, using: str) -> UUID:
    """Publish a message to one subscription alone, with where it came from; return its id."""
    dialect = dialect_of(using)
    for _ in range(STALE_TRIES):
        row = replace(pack(route, message, redriven_from), routed_to=(subscription,))
        if dialect.insert(replace(route, stream=None), [row]) is not None:
            _announce(route, [row], using)
            return row.id
        route = route_of(route.topic, using, fresh=True)
    raise RoutingUnsettledError(route.topic)


def _publish(route: Route, messages: Sequence[Outgoing[Any]], using: str) -> tuple[Receipt, ...]:
    """Begin again, packing anew, where the route turns out to be stale; a refusal stands if it was not."""
    receipts: dict[int, Receipt] = {}
    waiting = dict(enumerate(messages))
    for _ in range(STALE_TRIES):
        refusal = None
        try:
            receipts |= _try(route, waiting, using)
        except OF_THE_ROUTE as error:
            refusal = error
        waiting = {n: message for n, message in waiting.items() if n not in receipts}
        if not waiting:
            return tuple(receipts[n] for n in range(len(messages)))
        fresh = route_of(route.topic, using, fresh=True)
        if refusal and fresh.version == route.version:
            raise refusal
        route = fresh
    raise RoutingUnsettledError(route.topic)


def _try(route: Route, messages: Mapping[int, Outgoing[Any]], using: str) -> dict[int, Receipt]:
    """Publish by this route; the receipts have no message if it is stale, or whose key has just become free."""
    if not messages:
        return {}
    if not route.persistent:
        return dict(zip(messages, publish_live(route, list(messages.values()), using=using), strict=False))
    rows = {n: _routed(route, pack(route, message)) for n, message in messages.items()}
    if full := _full(route, rows.values()):
        known = _duplicates(route, rows, using)
        if len(known) == len(rows):
            return known
        raise QueueFullError(route.topic, full)
    stored = dialect_of(using).insert(route, list(rows.values()))
    if stored is None:
        return {}
    new = {n: row for n, row in rows.items() if row.id in stored}
    _announce(route, list(new.values()), using)
    receipts = {n: Receipt(row.id, route.topic, len(row.routed_to)) for n, row in new.items()}
    return receipts | _duplicates(route, {n: row for n, row in rows.items() if n not in new}, using)


def _routed(route: Route, row: NewMessage) -> NewMessage:
    headers = msgspec.json.decode(row.headers) if row.headers != "{}" else {}
    return replace(row, routed_to=route.matcher.match(row.routing_key, headers))


def _full(route: Route, rows: Iterable[NewMessage]) -> tuple[str, ...]:
    if not route.full:
        return ()
    matched = {subscription for row in rows for subscription in row.routed_to}
    return tuple(sorted(route.names[s] for s in matched & route.full))


def _duplicates(route: Route, rows: Mapping[int, NewMessage], using: str) -> dict[int, Receipt]:
    """Return the receipts of those whose idempotency key another message has."""
    keys = {row.idempotency_key for row in rows.values() if row.idempotency_key is not None}
    if not keys:
        return {}
    found = Message.objects.using(using).filter(topic=route.topic_id, idempotency_key__in=keys)
    firsts = {m.idempotency_key: m for m in found.only("id", "idempotency_key", "routed_to")}
    return {
        n: Receipt(first.id, route.topic, len(first.routed_to), duplicate=True)
        for n, row in rows.items()
        if (first := firsts.get(row.idempotency_key))
    }


def _announce(route: Route, rows: Sequence[NewMessage], using: str) -> None:
    if not rows:
        return
    transports = {route.transports[s] for row in rows for s in row.routed_to if s in route.transports}
    if route.stream is not None:
        transports.add(Transport.STREAM)
    signals.announce_on_commit(
        signals.published,
        sender=publish,
        using=using,
        topic=route.topic,
        message_ids=tuple(row.id for row in rows),
        deliveries=sum(len(row.routed_to) for row in rows),
        correlation_ids=tuple(row.correlation_id for row in rows),
        transports=frozenset(transports),
    )
