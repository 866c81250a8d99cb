"""How PostgreSQL runs the statements of a verb, and many rows for it to find its way among."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.db import connection, transaction

T = TypeVar("T")

DELIVERY = "datapunk_broker_delivery"

COLUMNS = {
    "message_id": "gen_random_uuid()",
    "state": "'ready'",
    "priority": "0",
    "ordering_key": "NULL",
    "attempt": "0",
    "claims": "0",
    "lapses": "0",
    "published_at": "now()",
    "available_at": "now()",
    "expires_at": "NULL",
    "ack_token": "NULL",
    "lease_until": "NULL",
}

CLAIMED = {
    "state": "'claimed'",
    "ack_token": "gen_random_uuid()",
    "lease_until": "now() + interval '1 hour'",
    "claims": "1",
}
SCHEDULED = {"state": "'scheduled'", "available_at": "now() + interval '1 hour'"}

MESSAGES = """
INSERT INTO datapunk_broker_message (
    id, topic_id, routing_key, headers, body, encoding, content_type, priority, routed_to, published_at, available_at)
SELECT d.message_id, s.topic_id, '', '{}', 'null', 'identity', 'application/json', d.priority, '[]',
       d.published_at, d.available_at
FROM datapunk_broker_delivery d JOIN datapunk_broker_subscription s ON s.id = d.subscription_id
WHERE d.subscription_id = %s AND coalesce(d.ordering_key, '') LIKE %s
ORDER BY d.ordering_key, d.priority DESC, d.id LIMIT %s
"""


@contextmanager
def standing(make: Callable[[], T], blocker: Any) -> Iterator[T]:
    """What is made stays for all tests of a module, outside their transactions, and goes after them."""
    with blocker.unblock():
        with transaction.atomic():
            made = make()
        connection.close()
    yield made
    with blocker.unblock():
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE datapunk_broker_delivery, datapunk_broker_message, datapunk_broker_topic CASCADE")
        connection.close()


def fill(subscription: Any, count: int, **columns: str) -> None:
    """Give a subscription so many deliveries; a column is SQL, in which ``i`` counts from 1."""
    values = {**COLUMNS, "subscription_id": str(subscription.pk), **columns}
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {DELIVERY} ({', '.join(values)}) "  # noqa: S608 - constants of tests
            f"SELECT {', '.join(values.values())} FROM generate_series(1, {count}) AS i"
        )


def write_messages(subscription: Any, count: int, keys: str = "") -> None:
    """Write the messages of the deliveries that are next in line, of those with such ordering keys."""
    with connection.cursor() as cursor:
        cursor.execute(MESSAGES, [subscription.pk, keys, count])


def analyze() -> None:
    with connection.cursor() as cursor:
        for table in (DELIVERY, "datapunk_broker_message", "datapunk_broker_subscription"):
            cursor.execute(f"ANALYZE {table}")


@dataclass
class Plan:
    """One statement's plan, as it ran."""

    sql: str
    nodes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def scans(self) -> list[dict[str, Any]]:
        """Its scans of deliveries."""
        return [n for n in self.nodes if n.get("Relation Name") == DELIVERY and "Scan" in n["Node Type"]]

    @property
    def indexes(self) -> set[str]:
        """What deliveries were found by; "" is no index."""
        found = {n.get("Index Name", "") for n in self.scans if n["Node Type"] != "Bitmap Heap Scan"}
        bitmaps = {n["Index Name"] for n in self.nodes if n["Node Type"] == "Bitmap Index Scan"}
        return found | {name for name in bitmaps if name.startswith(("broker_delivery", DELIVERY))}

    @property
    def rows_read(self) -> float:
        """Deliveries looked at, those that a filter threw away included."""
        return sum(
            (n["Actual Rows"] + n.get("Rows Removed by Filter", 0) + n.get("Rows Removed by Index Recheck", 0))
            * n["Actual Loops"]
            for n in self.scans
        )

    def sorts_deliveries(self) -> bool:
        """Whether the deliveries that are picked, and locked, are sorted first."""
        picking = [n for n in self.nodes if n["Node Type"] == "LockRows"]
        return any("Sort" in inner["Node Type"] for n in picking for inner in _walk(n))


def explained(act: Callable[[], Any]) -> list[Plan]:
    """Do it, and return the plans of the statements about deliveries that it ran."""
    plans: list[Plan] = []
    busy = False

    def explain(execute: Any, sql: str, params: Any, *rest: Any) -> Any:
        nonlocal busy
        if not busy and DELIVERY in sql and sql.lstrip().startswith(("SELECT", "UPDATE", "DELETE", "WITH", "(SELECT")):
            busy = True
            plans.append(Plan(sql, list(_walk(_run(sql, params)))))
            busy = False
        return execute(sql, params, *rest)

    with connection.execute_wrapper(explain):
        act()
    return plans


def _run(sql: str, params: Any) -> dict[str, Any]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", params)
        [[plan]] = cursor.fetchall()
        transaction.set_rollback(True)
    [whole] = json.loads(plan) if isinstance(plan, str) else plan
    root: dict[str, Any] = whole["Plan"]
    return root


def _walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", ()):
        yield from _walk(inner)
