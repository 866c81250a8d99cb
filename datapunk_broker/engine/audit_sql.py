"""The one statement of the audit, which both databases read alike but for how a JSON array becomes rows."""

from datapunk_broker.states import Settled

ELEMENTS = {"postgresql": "jsonb_array_elements_text(m.routed_to)", "sqlite": "json_each(m.routed_to)"}
"""By Django's ``connection.vendor``; the rows have a column ``value``."""

OUTCOMES = ", ".join(f"count(*) FILTER (WHERE what = '{outcome}') AS {outcome}" for outcome in Settled)
TOTALS = ", ".join(f"CAST(coalesce(sum({outcome}), 0) AS bigint)" for outcome in Settled)

AUDIT = f"""
WITH audited AS (
    SELECT s.id, s.name, s.topic_id, t.name AS topic, t.history
    FROM datapunk_broker_subscription s JOIN datapunk_broker_topic t ON t.id = s.topic_id
    WHERE s.state <> 'deleted' AND s.transport <> 'stream' AND t.deleted_at IS NULL
    AND (CAST(%(name)s AS text) IS NULL OR s.name = CAST(%(name)s AS text))
), kept AS (
    SELECT m.id, m.topic_id, m.routed_to FROM datapunk_broker_message m
    WHERE m.topic_id IN (SELECT topic_id FROM audited)
), published AS (
    SELECT topic_id, count(*) AS messages FROM kept GROUP BY topic_id
), found AS (
    SELECT m.id AS message_id, CAST(r.value AS bigint) AS subscription_id, 'matched' AS what
    FROM kept m CROSS JOIN {{elements}} AS r
    UNION ALL
    SELECT d.message_id, d.subscription_id, 'pending'
    FROM audited a JOIN datapunk_broker_delivery d ON d.subscription_id = a.id
    JOIN kept m ON m.id = d.message_id AND m.topic_id = a.topic_id
    UNION ALL
    SELECT e.message_id, e.subscription_id, e.outcome
    FROM kept m JOIN datapunk_broker_settleddelivery e ON e.message_id = m.id
    JOIN audited a ON a.id = e.subscription_id AND a.topic_id = m.topic_id
), pairs AS (
    SELECT subscription_id, count(*) FILTER (WHERE what = 'matched') AS matched,
           count(*) FILTER (WHERE what <> 'matched') AS traces,
           count(*) FILTER (WHERE what = 'pending') AS pending, {OUTCOMES}
    FROM found GROUP BY subscription_id, message_id
)
SELECT a.name, a.topic, a.history, coalesce(min(p.messages), 0), CAST(coalesce(sum(f.matched), 0) AS bigint),
       {TOTALS}, CAST(coalesce(sum(f.pending), 0) AS bigint),
       count(*) FILTER (WHERE f.matched > f.traces), count(*) FILTER (WHERE f.matched < f.traces)
FROM audited a LEFT JOIN published p ON p.topic_id = a.topic_id LEFT JOIN pairs f ON f.subscription_id = a.id
GROUP BY a.id, a.name, a.topic, a.history ORDER BY a.name
"""  # noqa: S608 - put together from this module's own words
