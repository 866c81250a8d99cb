"""The statements of the PostgreSQL dialect."""

from datapunk_broker.engine.rows import LIGHT
from datapunk_broker.models import LATENCY_BOUNDS

_INSERT = """
WITH topic AS (
    SELECT id FROM datapunk_broker_topic WHERE id = %s::bigint AND routing_version = %s::bigint AND deleted_at IS NULL
), given AS (
    {given}
), stored AS (
    INSERT INTO datapunk_broker_message (
        id, topic_id, routing_key, headers, body, encoding, content_type, priority, ordering_key, idempotency_key,
        correlation_id, reply_to, redriven_from, routed_to, published_at, available_at, expires_at)
    SELECT g.id, topic.id, g.routing_key, g.headers::jsonb, g.body, g.encoding, g.content_type, g.priority,
           g.ordering_key, g.idempotency_key, g.correlation_id, g.reply_to, g.redriven_from, g.routed_to::jsonb,
           statement_timestamp(), statement_timestamp() + g.delay * interval '1 second',
           statement_timestamp() + g.ttl * interval '1 second'
    FROM given g CROSS JOIN topic
    ON CONFLICT (topic_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
    RETURNING id, priority, ordering_key, routed_to, published_at, available_at, expires_at
), owed AS (
    INSERT INTO datapunk_broker_delivery (
        message_id, subscription_id, state, priority, ordering_key, attempt, claims, lapses,
        published_at, available_at, expires_at)
    SELECT s.id, r.subscription_id, CASE WHEN s.available_at > s.published_at THEN 'scheduled' ELSE 'ready' END,
           CASE WHEN r.streams THEN 0 ELSE s.priority END,
           CASE WHEN r.subscription_id = ANY (%s::bigint[]) THEN s.ordering_key END, 0, 0, 0,
           s.published_at, s.available_at, s.expires_at
    FROM stored s CROSS JOIN LATERAL (
        SELECT value::bigint, false FROM jsonb_array_elements_text(s.routed_to)
        UNION ALL SELECT stream, true FROM (SELECT %s::bigint AS stream) AS one WHERE stream IS NOT NULL
    ) AS r(subscription_id, streams)
    ORDER BY s.id
)
SELECT EXISTS (SELECT 1 FROM topic), ARRAY(SELECT id FROM stored)
"""

_COLUMNS = {
    "id": "uuid",
    "routing_key": "text",
    "headers": "text",
    "body": "bytea",
    "encoding": "text",
    "content_type": "text",
    "priority": "smallint",
    "ordering_key": "text",
    "idempotency_key": "text",
    "correlation_id": "text",
    "reply_to": "text",
    "delay": "float8",
    "ttl": "float8",
    "redriven_from": "uuid",
    "routed_to": "text",
}

INSERT_MANY = _INSERT.format(
    given=f"""SELECT * FROM unnest({", ".join(f"%s::{kind}[]" for kind in _COLUMNS.values())})
    AS g({", ".join(_COLUMNS)})"""
)

INSERT_ONE = _INSERT.format(given=f"SELECT {', '.join(f'%s::{kind} AS {name}' for name, kind in _COLUMNS.items())}")
"""Without arrays, whose length PostgreSQL looks at to plan a prepared statement anew each time it is executed."""

RUN = 100
"""How many deliveries of one ordering key a claim looks at, and so takes at most."""

KEYS = 1000
"""How many ordering keys a claim looks at: in an outage they may all wait."""

READY = """
d.state = 'ready' AND d.lapses = 0 AND d.ordering_key IS NULL
AND (d.expires_at IS NULL OR d.expires_at > statement_timestamp())
"""

WANTED = """
WITH wanted AS (
    SELECT w.* FROM unnest(%s::bigint[], %s::int[], %s::float8[]) AS w(subscription_id, share, lease)
    JOIN datapunk_broker_subscription s ON s.id = w.subscription_id
    WHERE s.state = 'active' AND s.breaker_state = %s
)
"""

TAKE = """
, taken AS (
    UPDATE datapunk_broker_delivery d
    SET state = 'claimed', claims = claims + 1, ack_token = {token},
        lease_until = clock_timestamp() + p.lease * interval '1 second'
    FROM picked p WHERE d.id = p.id AND d.state = 'ready'
    RETURNING d.id, d.subscription_id, d.claims, d.ordering_key, d.message_id
)
"""

TAKEN = f"""
t.id, t.subscription_id, t.claims, t.ordering_key, m.id, m.routing_key, m.headers,
CASE WHEN octet_length(m.body) <= {LIGHT} THEN m.body ELSE '' END, octet_length(m.body), m.encoding,
m.content_type, m.priority, m.ordering_key, m.published_at, m.correlation_id, m.reply_to
"""

CLAIMED = f"""
SELECT {TAKEN} FROM taken t JOIN datapunk_broker_message m ON m.id = t.message_id
"""

CLAIM = f"""{WANTED}
, busy AS (
    SELECT w.*, count(*) OVER () AS others FROM wanted w
    WHERE EXISTS (SELECT 1 FROM datapunk_broker_delivery d WHERE d.subscription_id = w.subscription_id AND {READY})
    ORDER BY random()
), picked AS (
    SELECT r.id, b.lease FROM busy b CROSS JOIN LATERAL (
        SELECT d.id FROM datapunk_broker_delivery d WHERE d.subscription_id = b.subscription_id AND {READY}
        ORDER BY d.priority DESC, d.id LIMIT LEAST(b.share, GREATEST(1, %s::int / b.others))
        FOR NO KEY UPDATE SKIP LOCKED
    ) r LIMIT %s::int
){TAKE.format(token="%s::uuid")}{CLAIMED}"""

CLAIM_SUSPECT = f"""{WANTED}
, picked AS (
    SELECT r.id, w.lease FROM wanted w CROSS JOIN LATERAL (
        SELECT d.id FROM datapunk_broker_delivery d
        WHERE d.subscription_id = w.subscription_id AND d.state = 'ready' AND d.lapses > 0
        AND (d.expires_at IS NULL OR d.expires_at > statement_timestamp())
        AND NOT EXISTS (
            SELECT 1 FROM datapunk_broker_delivery e
            WHERE e.subscription_id = d.subscription_id AND e.ordering_key = d.ordering_key AND e.id < d.id)
        AND NOT EXISTS (
            SELECT 1 FROM datapunk_broker_delivery e
            WHERE e.subscription_id = d.subscription_id AND e.ordering_key = d.ordering_key AND e.state = 'claimed')
        ORDER BY d.id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
    ) r
){TAKE.format(token="%s::uuid")}{CLAIMED}"""

OPEN = """
d.state = 'ready' AND d.lapses = 0 AND (d.expires_at IS NULL OR d.expires_at > statement_timestamp())
"""

CLAIM_RUN = f"""
WITH RECURSIVE keys AS (
    SELECT %(after)s::text AS ordering_key, ARRAY[]::bigint[] AS ids, 0 AS found, 0 AS looked
    UNION ALL
    SELECT next.ordering_key, run.ids, keys.found + cardinality(run.ids), keys.looked + 1
    FROM keys CROSS JOIN LATERAL (
        SELECT d.ordering_key, {OPEN} AS open FROM datapunk_broker_delivery d
        WHERE d.subscription_id = %(subscription)s::bigint AND d.ordering_key > keys.ordering_key
        ORDER BY d.ordering_key, d.id LIMIT 1
    ) AS next CROSS JOIN LATERAL (
        SELECT CASE WHEN bool_or(claimed) THEN '{{}}'
               ELSE coalesce(array_agg(id ORDER BY id) FILTER (WHERE judged.leading), '{{}}') END AS ids
        FROM (
            SELECT id, claimed, bool_and(open) OVER (ORDER BY id) AS leading FROM (
                SELECT d.id, d.state = 'claimed' AS claimed, {OPEN} AS open FROM datapunk_broker_delivery d
                WHERE next.open AND d.subscription_id = %(subscription)s::bigint
                AND d.ordering_key = next.ordering_key
                ORDER BY d.id LIMIT {RUN}
            ) AS next_in_key
        ) AS judged
    ) AS run WHERE keys.found < %(limit)s::int AND keys.looked < {KEYS}
), picked AS (
    SELECT unnest(ids) AS id, %(lease)s::float8 AS lease FROM keys LIMIT %(limit)s::int
), last AS (
    SELECT CASE WHEN found >= %(limit)s::int OR looked >= {KEYS} THEN ordering_key END AS ordering_key
    FROM keys ORDER BY looked DESC LIMIT 1
){TAKE.format(token="%(token)s::uuid")}
SELECT last.ordering_key, {TAKEN}
FROM last LEFT JOIN taken t ON true LEFT JOIN datapunk_broker_message m ON m.id = t.message_id
"""

BUCKETS = ", ".join(
    f"count(*) FILTER (WHERE latency > {low} AND latency <= {high})"
    for low, high in zip(("'-Infinity'", *LATENCY_BOUNDS), (*LATENCY_BOUNDS, "'Infinity'"), strict=True)
)

ACK = f"""
WITH held AS MATERIALIZED (
    SELECT d.id FROM datapunk_broker_delivery d JOIN unnest(%s::bigint[], %s::uuid[]) AS g(id, token)
    ON d.id = g.id AND d.ack_token = g.token ORDER BY d.id FOR NO KEY UPDATE OF d
), gone AS (
    DELETE FROM datapunk_broker_delivery d USING held WHERE d.id = held.id
    RETURNING d.id, d.ack_token, d.message_id, d.subscription_id, d.attempt,
              extract(epoch FROM clock_timestamp() - d.published_at)::float8 AS latency
), kept AS (
    INSERT INTO datapunk_broker_settleddelivery (message_id, subscription_id, outcome, attempts, settled_at, latency)
    SELECT gone.message_id, gone.subscription_id, 'acked', gone.attempt + 1, clock_timestamp(), gone.latency
    FROM gone JOIN datapunk_broker_subscription s ON s.id = gone.subscription_id
    JOIN datapunk_broker_topic t ON t.id = s.topic_id WHERE t.history
    ON CONFLICT (message_id, subscription_id) DO UPDATE
    SET outcome = excluded.outcome, attempts = excluded.attempts, settled_at = excluded.settled_at,
        latency = excluded.latency
), counted AS (
    INSERT INTO datapunk_broker_traffic (subscription_id, minute, outcome, count, seconds, buckets)
    SELECT subscription_id, date_trunc('minute', clock_timestamp()), 'acked', count(*), sum(latency),
           jsonb_build_array({BUCKETS})
    FROM gone GROUP BY subscription_id
)
SELECT id, ack_token, subscription_id FROM gone
"""
