"""PostgreSQL: one statement for a publish, a claim, an ack, whatever the number of rows."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID, uuid4

from django.db.backends.base.base import BaseDatabaseWrapper

from datapunk_broker.engine.dialects import postgresql_sql as sql
from datapunk_broker.engine.routes import Route
from datapunk_broker.engine.rows import Claimed, NewMessage, Wanted
from datapunk_broker.states import BreakerState

ADVISORY_SPACE = 0x6470 << 48
"""Keeps the broker's advisory locks apart from the project's own."""


class PostgreSQL:
    """The hot verbs on one connection."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    def insert(self, route: Route, messages: Sequence[NewMessage]) -> frozenset[UUID] | None:
        """Insert messages and deliveries where the topic still has the route's version."""
        rows = [(m.id, m.routing_key, m.headers, m.body, m.encoding.value, m.content_type, m.priority,
                 m.ordering_key, m.idempotency_key, m.correlation_id, m.reply_to, m.delay, m.ttl,
                 m.redriven_from, _json_array(m.routed_to))
                for m in _by_key(messages)]  # fmt: skip
        statement, given = (sql.INSERT_ONE, rows[0]) if len(rows) == 1 else (sql.INSERT_MANY, _columns_of(rows))
        parameters = (route.topic_id, route.version, *given, list(route.ordered), route.stream)
        current, stored = self._rows(statement, parameters)[0]
        return frozenset(stored) if current else None

    def claim(self, wanted: Sequence[Wanted], limit: int, breaker: BreakerState = BreakerState.CLOSED) -> list[Claimed]:
        """Claim across subscriptions by LATERAL."""
        token = uuid4()
        rows = self._rows(sql.CLAIM, (*_columns(wanted), breaker.value, limit, limit, token))
        return _claimed(rows, token)

    def claim_run(self, wanted: Wanted, limit: int, after: str) -> tuple[list[Claimed], str | None]:
        """Claim leading runs by a skip scan over the keys."""
        token = uuid4()
        where = {"subscription": wanted.subscription, "after": after, "limit": limit}
        rows = self._rows(sql.CLAIM_RUN, {**where, "token": token, "lease": wanted.lease})
        return _claimed([row[1:] for row in rows if row[1] is not None], token), rows[0][0]

    def claim_suspect(self, wanted: Wanted, breaker: BreakerState = BreakerState.CLOSED) -> list[Claimed]:
        """Claim one suspect."""
        token = uuid4()
        return _claimed(self._rows(sql.CLAIM_SUSPECT, (*_columns([wanted]), breaker.value, token)), token)

    def try_lock(self, key: int) -> bool:
        """Try an advisory lock."""
        return bool(self._rows("SELECT pg_try_advisory_xact_lock(%s)", (ADVISORY_SPACE | key,))[0][0])

    def ack(self, claims: Sequence[tuple[int, UUID]]) -> dict[tuple[int, UUID], int]:
        """Delete, append to the history and count in one statement."""
        ids, tokens = [list(column) for column in zip(*claims, strict=True)]
        return {(delivery, token): s for delivery, token, s in self._rows(sql.ACK, (ids, tokens))}

    def _rows(self, statement: str, parameters: Any) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall())


def _claimed(rows: Iterable[tuple[Any, ...]], token: UUID) -> list[Claimed]:
    return sorted((Claimed(row[0], token, *row[1:]) for row in rows), key=lambda c: c.place)


def _by_key(messages: Sequence[NewMessage]) -> list[NewMessage]:
    # Two publishers wait for each other's keys in one order, and so never both at once.
    return sorted(messages, key=lambda m: m.idempotency_key or "")


def _columns_of(rows: Iterable[tuple[Any, ...]]) -> Iterable[list[Any]]:
    return map(list, zip(*rows, strict=True))


def _columns(wanted: Sequence[Wanted]) -> tuple[list[int], list[int], list[float]]:
    return [w.subscription for w in wanted], [w.share for w in wanted], [w.lease for w in wanted]


def _json_array(ids: Iterable[int]) -> str:
    return f"[{','.join(map(str, ids))}]"
