"""SQLite: a few statements for a publish, a claim, an ack; the database admits one writer, so nothing is locked."""

import json
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from datapunk_broker.engine.dialects import sqlite_sql as sql
from datapunk_broker.engine.histogram import buckets_of
from datapunk_broker.engine.routes import Route
from datapunk_broker.engine.rows import Claimed, NewMessage, Wanted
from datapunk_broker.states import BreakerState

_rng = random.SystemRandom()


class SQLite:
    """The hot verbs on one connection. The host's clock is the database's."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    def insert(self, route: Route, messages: Sequence[NewMessage]) -> frozenset[UUID] | None:
        """Insert messages and deliveries where the topic still has the route's version."""
        ids = _json(m.id.hex for m in messages)
        with transaction.atomic(using=self.connection.alias), self.connection.cursor() as cursor:
            cursor.execute(sql.CURRENT, (route.topic_id, route.version))
            if cursor.fetchone() is None:
                return None
            now = timezone.now()
            cursor.executemany(sql.INSERT_MESSAGE, [_message_row(route.topic_id, m, now) for m in messages])
            cursor.execute(sql.STORED, (ids,))
            stored = frozenset(UUID(hex=row[0]) for row in cursor.fetchall())
            cursor.execute(sql.INSERT_DELIVERY, (route.stream, _json(route.ordered), ids, route.stream, route.stream))
            return stored

    def claim(self, wanted: Sequence[Wanted], limit: int, breaker: BreakerState = BreakerState.CLOSED) -> list[Claimed]:
        """Claim across subscriptions; looks before it writes, so that an idle poll blocks nobody."""
        now = _now()
        busy = self._rows(sql.BUSY, {"wanted": _wanted(wanted), "now": now, "breaker": breaker.value})
        fair = max(1, limit // max(1, len(busy)))
        picked = [
            row[0]
            for subscription, share in _rng.sample(busy, len(busy))
            for row in self._rows(sql.READY_OF, {"subscription": subscription, "now": now, "share": min(share, fair)})
        ]
        return self._take(picked[:limit], wanted)

    def claim_run(self, wanted: Wanted, limit: int, after: str) -> tuple[list[Claimed], str | None]:
        """Claim leading runs of ordering keys."""
        where = {"subscription": wanted.subscription, "after": after, "limit": limit, "now": _now()}
        rows = self._rows(sql.RUNS, where)
        ids = [delivery for _, delivery in rows if delivery is not None]
        ended = len(rows) < limit and len(rows) == len(ids)
        return self._take(ids, [wanted]), None if ended else rows[-1][0]

    def claim_suspect(self, wanted: Wanted, breaker: BreakerState = BreakerState.CLOSED) -> list[Claimed]:
        """Claim one suspect."""
        where = {"wanted": _wanted([wanted]), "now": _now(), "breaker": breaker.value}
        return self._take([row[0] for row in self._rows(sql.SUSPECT, where)], [wanted])

    def try_lock(self, key: int) -> bool:  # noqa: ARG002 - there is one writer
        """Return True: a transaction shuts out every other writer."""
        return True

    def ack(self, claims: Sequence[tuple[int, UUID]]) -> dict[tuple[int, UUID], int]:
        """Delete, append to the history and count, in one transaction."""
        held = _json({"id": delivery, "token": token.hex} for delivery, token in claims)
        with transaction.atomic(using=self.connection.alias), self.connection.cursor() as cursor:
            where = {"held": held, "now": _now()}
            cursor.execute(sql.GONE, where)
            gone = cursor.fetchall()
            cursor.execute(sql.KEEP, where)
            cursor.execute(sql.DELETE, where)
            cursor.executemany(sql.COUNT, _traffic(gone))
        return {(delivery, UUID(hex=token)): subscription for delivery, token, subscription, _ in gone}

    def _take(self, ids: list[int], wanted: Sequence[Wanted]) -> list[Claimed]:
        if not ids:
            return []
        token, now = uuid4(), timezone.now()
        leases = {w.subscription: _stamp(now + timedelta(seconds=w.lease)) for w in wanted}
        where = {"token": token.hex, "ids": _json(ids), "leases": json.dumps(leases)}
        with transaction.atomic(using=self.connection.alias), self.connection.cursor() as cursor:
            cursor.execute(sql.TAKE, where)
            cursor.execute(sql.TAKEN, where)
            claimed = [_claimed(row, token) for row in cursor.fetchall()]
        return sorted(claimed, key=lambda c: c.place)

    def _rows(self, statement: str, parameters: Any) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall())


def _message_row(topic: int, m: NewMessage, now: datetime) -> tuple[Any, ...]:
    expires = None if m.ttl is None else _stamp(now + timedelta(seconds=m.ttl))
    redriven_from = m.redriven_from.hex if m.redriven_from else None
    return (
        m.id.hex, topic, m.routing_key, m.headers, m.body, m.encoding.value, m.content_type, m.priority,
        m.ordering_key, m.idempotency_key, m.correlation_id, m.reply_to, redriven_from, _json(m.routed_to),
        _stamp(now), _stamp(now + timedelta(seconds=m.delay)), expires,
    )  # fmt: skip


def _claimed(row: tuple[Any, ...], token: UUID) -> Claimed:
    claimed = Claimed(row[0], token, *row[1:])
    published_at = claimed.published_at.replace(tzinfo=UTC)
    return replace(claimed, message=UUID(hex=row[4]), published_at=published_at)


def _traffic(gone: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    latencies: dict[int, list[float]] = defaultdict(list)
    for _, _, subscription, latency in gone:
        latencies[subscription].append(latency)
    minute = _stamp(timezone.now().replace(second=0, microsecond=0))
    return [(s, minute, len(some), sum(some), _json(buckets_of(some))) for s, some in latencies.items()]


def _wanted(wanted: Sequence[Wanted]) -> str:
    return _json({"subscription": w.subscription, "share": w.share} for w in wanted)


def _json(values: Iterable[Any]) -> str:
    return json.dumps(list(values))


def _now() -> str:
    return _stamp(timezone.now())


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
