"""The statements of the SQLite dialect. UUIDs are 32 hex digits and times are UTC text, as Django stores them."""

from datapunk_broker.engine.rows import LIGHT

CURRENT = "SELECT 1 FROM datapunk_broker_topic WHERE id = %s AND routing_version = %s AND deleted_at IS NULL"

INSERT_MESSAGE = """
INSERT INTO datapunk_broker_message (
    id, topic_id, routing_key, headers, body, encoding, content_type, priority, ordering_key, idempotency_key,
    correlation_id, reply_to, redriven_from, routed_to, published_at, available_at, expires_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (topic_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
"""

STORED = "SELECT m.id FROM json_each(%s) g JOIN datapunk_broker_message m ON m.id = g.value"

INSERT_DELIVERY = """
INSERT INTO datapunk_broker_delivery (
    message_id, subscription_id, state, priority, ordering_key, attempt, claims, lapses,
    published_at, available_at, expires_at)
SELECT m.id, r.value, CASE WHEN m.available_at > m.published_at THEN 'scheduled' ELSE 'ready' END,
       CASE WHEN r.value IS %s THEN 0 ELSE m.priority END,
       CASE WHEN r.value IN (SELECT value FROM json_each(%s)) THEN m.ordering_key END, 0, 0, 0,
       m.published_at, m.available_at, m.expires_at
FROM json_each(%s) g CROSS JOIN datapunk_broker_message m ON m.id = g.value
CROSS JOIN json_each(CASE WHEN %s THEN json_insert(m.routed_to, '$[#]', %s) ELSE m.routed_to END) r
ORDER BY g.key
"""

READY = """
d.state = 'ready' AND d.lapses = 0 AND d.ordering_key IS NULL AND (d.expires_at IS NULL OR d.expires_at > %(now)s)
"""

OPEN = """
SELECT w.value ->> 'subscription' AS subscription_id, w.value ->> 'share' AS share
FROM json_each(%(wanted)s) w
JOIN datapunk_broker_subscription s ON s.id = w.value ->> 'subscription'
WHERE s.state = 'active' AND s.breaker_state = %(breaker)s
"""

BUSY = f"""
SELECT o.subscription_id, o.share FROM ({OPEN}) o
WHERE EXISTS (SELECT 1 FROM datapunk_broker_delivery d WHERE d.subscription_id = o.subscription_id AND {READY})
"""

READY_OF = f"""
SELECT d.id FROM datapunk_broker_delivery d WHERE d.subscription_id = %(subscription)s AND {READY}
ORDER BY d.priority DESC, d.id LIMIT %(share)s
"""

SUSPECT = f"""
SELECT d.id FROM ({OPEN}) o JOIN datapunk_broker_delivery d ON d.subscription_id = o.subscription_id
WHERE d.state = 'ready' AND d.lapses > 0
AND (d.expires_at IS NULL OR d.expires_at > %(now)s)
AND NOT EXISTS (
    SELECT 1 FROM datapunk_broker_delivery e
    WHERE e.subscription_id = d.subscription_id AND e.ordering_key = d.ordering_key AND e.id < d.id)
AND NOT EXISTS (
    SELECT 1 FROM datapunk_broker_delivery e
    WHERE e.subscription_id = d.subscription_id AND e.ordering_key = d.ordering_key AND e.state = 'claimed')
ORDER BY d.id LIMIT 1
"""

RUN = 100
"""How many deliveries of one ordering key a claim looks at, and so takes at most."""

KEYS = 1000
"""How many ordering keys a claim looks at: in an outage they may all wait."""

LEADS = "d.state = 'ready' AND d.lapses = 0 AND (d.expires_at IS NULL OR d.expires_at > %(now)s)"

FREE = f"""
(SELECT {LEADS} FROM datapunk_broker_delivery d
 WHERE d.subscription_id = %(subscription)s AND d.ordering_key = keys.ordering_key ORDER BY d.id LIMIT 1)
AND NOT EXISTS (SELECT 1 FROM (
    SELECT d.state FROM datapunk_broker_delivery d
    WHERE d.subscription_id = %(subscription)s AND d.ordering_key = keys.ordering_key ORDER BY d.id LIMIT {RUN}
) WHERE state = 'claimed')
"""

RUNS = f"""
WITH RECURSIVE keys(ordering_key, found, looked) AS (
    SELECT min(ordering_key), 0, 1 FROM datapunk_broker_delivery
    WHERE subscription_id = %(subscription)s AND ordering_key > %(after)s
    UNION ALL
    SELECT (SELECT min(d.ordering_key) FROM datapunk_broker_delivery d
            WHERE d.subscription_id = %(subscription)s AND d.ordering_key > keys.ordering_key),
           found + ({FREE}), looked + 1
    FROM keys WHERE keys.ordering_key IS NOT NULL AND found < %(limit)s AND looked < {KEYS}
), runs AS (
    SELECT d.id, d.ordering_key, min({LEADS}) OVER (PARTITION BY d.ordering_key ORDER BY d.id) AS leading
    FROM (SELECT ordering_key FROM keys WHERE ordering_key IS NOT NULL AND {FREE}) k
    CROSS JOIN datapunk_broker_delivery d ON d.id IN (
        SELECT id FROM datapunk_broker_delivery
        WHERE subscription_id = %(subscription)s AND ordering_key = k.ordering_key ORDER BY id LIMIT {RUN})
)
SELECT ordering_key, id FROM runs WHERE leading
UNION ALL SELECT max(ordering_key), NULL FROM keys HAVING count(ordering_key) = {KEYS}
ORDER BY 1, 2 NULLS LAST LIMIT %(limit)s
"""

TAKE = """
UPDATE datapunk_broker_delivery SET state = 'claimed', claims = claims + 1, ack_token = %(token)s,
       lease_until = json_extract(%(leases)s, '$."' || subscription_id || '"')
WHERE state = 'ready' AND id IN (SELECT value FROM json_each(%(ids)s))
"""

TAKEN = f"""
SELECT d.id, d.subscription_id, d.claims, d.ordering_key, m.id, m.routing_key, m.headers,
       CASE WHEN length(m.body) <= {LIGHT} THEN m.body ELSE x'' END, length(m.body), m.encoding, m.content_type,
       m.priority, m.ordering_key, m.published_at, m.correlation_id, m.reply_to
FROM json_each(%(ids)s) g JOIN datapunk_broker_delivery d ON d.id = g.value AND d.ack_token = %(token)s
JOIN datapunk_broker_message m ON m.id = d.message_id
"""

HELD = """
json_each(%(held)s) g JOIN datapunk_broker_delivery d
ON d.id = g.value ->> 'id' AND d.ack_token = g.value ->> 'token'
"""

GONE = f"""
SELECT d.id, d.ack_token, d.subscription_id,
       (julianday(%(now)s) - julianday(d.published_at)) * 86400.0 FROM {HELD}
"""

DELETE = f"DELETE FROM datapunk_broker_delivery WHERE id IN (SELECT d.id FROM {HELD})"

KEEP = f"""
INSERT INTO datapunk_broker_settleddelivery (message_id, subscription_id, outcome, attempts, settled_at, latency)
SELECT d.message_id, d.subscription_id, 'acked', d.attempt + 1, %(now)s,
       (julianday(%(now)s) - julianday(d.published_at)) * 86400.0
FROM {HELD} JOIN datapunk_broker_subscription s ON s.id = d.subscription_id
JOIN datapunk_broker_topic t ON t.id = s.topic_id WHERE t.history
ON CONFLICT (message_id, subscription_id) DO UPDATE
SET outcome = excluded.outcome, attempts = excluded.attempts, settled_at = excluded.settled_at,
    latency = excluded.latency
"""

COUNT = """
INSERT INTO datapunk_broker_traffic (subscription_id, minute, outcome, count, seconds, buckets)
VALUES (%s, %s, 'acked', %s, %s, %s)
"""
