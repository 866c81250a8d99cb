"""The statements that run for every message, once per kind of database; everything else is the ORM's."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from datapunk_broker.engine.dialects.postgresql import PostgreSQL
from datapunk_broker.engine.dialects.sqlite import SQLite
from datapunk_broker.engine.routes import Route
from datapunk_broker.engine.rows import Claimed, NewMessage, Wanted
from datapunk_broker.states import BreakerState

DIALECTS: dict[str, type[PostgreSQL | SQLite]] = {"postgresql": PostgreSQL, "sqlite": SQLite}
"""By Django's ``connection.vendor``; a database that is not here is a system check's error."""


FOLDING, COUNTING, LIMITING, RESTAMPING = 0, *range(1 << 47, (1 << 47) + 3)
"""The locks of whoever folds traffic, counts what was published, looks at limits or gives deliveries their ordering
keys: no id of a subscription."""


class Dialect(Protocol):
    """What a database must do for the hot verbs; each is one statement where the database can."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None: ...

    def insert(self, route: Route, messages: Sequence[NewMessage]) -> frozenset[UUID] | None:
        """Store messages and the deliveries they owe; the ids stored, or None where the route is stale.

        An id is missing where its idempotency key was taken.
        """

    def claim(self, wanted: Sequence[Wanted], limit: int, breaker: BreakerState = BreakerState.CLOSED) -> list[Claimed]:
        """Claim ready deliveries in order of priority, then age: a fair share of ``limit`` for each subscription.

        Leaves out those of ordered keys, those whose last claim lapsed, and subscriptions that are not active or
        whose breaker is not in this state.
        """

    def claim_run(self, wanted: Wanted, limit: int, after: str) -> tuple[list[Claimed], str | None]:
        """Claim the leading run of ready deliveries of each next ordering key behind ``after``, up to ``limit``.

        Looks at a bounded number of keys. Returns also the last one it looked at, None where no more are behind it.
        """

    def claim_suspect(self, wanted: Wanted, breaker: BreakerState = BreakerState.CLOSED) -> list[Claimed]:
        """Claim the one delivery that is oldest among those whose last claim lapsed."""

    def try_lock(self, key: int) -> bool:
        """Take a lock to the end of the transaction: a subscription's id, or one of ours; False if another has it."""

    def ack(self, claims: Sequence[tuple[int, UUID]]) -> dict[tuple[int, UUID], int]:
        """Settle as acked the claims whose deliveries still carry their tokens; those, with their subscription."""


def dialect_of(using: str) -> Dialect:
    """Return the dialect of a database alias."""
    connection = connections[using]
    return DIALECTS[connection.vendor](connection)
