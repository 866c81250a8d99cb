"""The limit: psycopg alone on the broker's own tables, with statements that do nothing that they need not.

``python -m benchmarks.raw`` is one of its draining processes: it begins with the line that it reads.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
from uuid_utils.compat import uuid7

from benchmarks.sink import hit

BATCH = 500

ONE = """
WITH message AS (
    INSERT INTO datapunk_broker_message (id, topic_id, routing_key, headers, body, encoding, content_type, priority,
        routed_to, published_at, available_at)
    VALUES (%s, %s, '', '{}', %s, 'identity', 'application/json', 0, '[]', now(), now()) RETURNING id
)
INSERT INTO datapunk_broker_delivery (message_id, subscription_id, state, priority, attempt, claims, lapses,
    published_at, available_at)
SELECT id, %s, 'ready', 0, 0, 0, 0, now(), now() FROM message
"""

MANY = """
WITH message AS (
    INSERT INTO datapunk_broker_message (id, topic_id, routing_key, headers, body, encoding, content_type, priority,
        routed_to, published_at, available_at)
    SELECT g.id, %s, '', '{}', g.body, 'identity', 'application/json', 0, '[]', now(), now()
    FROM unnest(%b::uuid[], %b::bytea[]) AS g(id, body) RETURNING id
)
INSERT INTO datapunk_broker_delivery (message_id, subscription_id, state, priority, attempt, claims, lapses,
    published_at, available_at)
SELECT id, s, 'ready', 0, 0, 0, 0, now(), now() FROM message CROSS JOIN unnest(%b::bigint[]) AS s
"""

CLAIM = """
WITH picked AS MATERIALIZED (
    SELECT id FROM datapunk_broker_delivery
    WHERE subscription_id = ANY (%s) AND state = 'ready' AND lapses = 0 AND ordering_key IS NULL
    ORDER BY subscription_id, priority DESC, id LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
), taken AS (
    UPDATE datapunk_broker_delivery d SET state = 'claimed', claims = claims + 1, ack_token = %s,
        lease_until = now() + interval '60 s'
    FROM picked WHERE d.id = picked.id RETURNING d.id, d.message_id, d.subscription_id
)
SELECT taken.id, taken.subscription_id, m.body FROM taken JOIN datapunk_broker_message m ON m.id = taken.message_id
"""

SETTLE = """
WITH gone AS (
    DELETE FROM datapunk_broker_delivery WHERE id = ANY (%s) AND ack_token = %s RETURNING message_id, subscription_id
)
INSERT INTO datapunk_broker_settleddelivery (message_id, subscription_id, outcome, attempts, settled_at, latency)
SELECT message_id, subscription_id, 'acked', 1, now(), 0 FROM gone
"""


def connect(*, autocommit: bool = True) -> psycopg.Connection[Any]:
    """Connect to where the broker's tables are."""
    return psycopg.connect(os.environ["DATABASE_URL"], autocommit=autocommit)


def publish(database: psycopg.Connection[Any], topic: int, subscription: int, bodies: Sequence[bytes]) -> None:
    """Publish one by one, a commit each."""
    for body in bodies:
        with database.cursor() as cursor:
            cursor.execute(ONE, (uuid7(), topic, body, subscription))
        if not database.autocommit:
            database.commit()


def publish_batch(
    database: psycopg.Connection[Any], topic: int, subscriptions: Sequence[int], bodies: Sequence[bytes]
) -> None:
    """Publish a batch in a statement."""
    ids = [uuid7() for _ in bodies]
    with database.cursor() as cursor:
        cursor.execute(MANY, (topic, ids, list(bodies), list(subscriptions)))


def drain(subscriptions: Sequence[int], first: int) -> None:
    """Claim, call and settle, batch by batch, until nothing is left."""
    with connect() as database, database.cursor() as cursor:
        token: UUID = uuid4()
        cursor.execute("SELECT 1")
        sys.stdin.readline()
        while rows := cursor.execute(CLAIM, (list(subscriptions), BATCH, token)).fetchall():
            for _, subscription, body in rows:
                number: int = msgspec.json.decode(body)["id"]
                hit(number * len(subscriptions) + subscription - first)
            cursor.execute(SETTLE, ([row[0] for row in rows], token))


@contextmanager
def drainers(subscriptions: Sequence[int], processes: int) -> Iterator[None]:
    """Let that many processes drain: they begin together when this is entered."""
    command = [sys.executable, "-m", "benchmarks.raw", *map(str, subscriptions)]
    running = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(processes)]
    for process in running:
        if process.stdin is not None:
            process.stdin.write(b"go\n")
            process.stdin.flush()
    yield
    for process in running:
        process.communicate()


if __name__ == "__main__":
    given = [int(number) for number in sys.argv[1:]]
    drain(given, given[0])
