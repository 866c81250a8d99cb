"""PostgreSQL finds a page of dead letters by an index that has their order, however many there are."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.models import DeadLetter, Message, Subscription, Topic
from tests.api.talk import Api, granted

pytestmark = pytest.mark.postgresql

LETTERS = 20_000
TOPICS, EACH = 4, 5
REASONS = ("max_attempts", "rejected", "timeout", "expired")
TABLE = "datapunk_broker_deadletter"


def fill() -> None:
    names = [f"topic-{n}" for n in range(TOPICS)]
    for name in (*names, "gone"):
        broker.create_topic(TopicConfig(name))
        for n in range(EACH):
            broker.create_subscription(SubscriptionConfig(f"{name}-{n}", name, transport="pull"))
    for name in names:
        broker.publish_many(name, [broker.Outgoing("x" * 900) for _ in range(LETTERS // TOPICS // EACH)])
    now = timezone.now()
    pairs = Message.objects.values_list("pk", "topic_id", "topic__subscriptions")
    DeadLetter.objects.bulk_create(
        DeadLetter(
            topic_id=topic,
            subscription_id=subscription,
            message_id=message,
            reason=REASONS[n % len(REASONS)],
            attempts=1,
            first_failed_at=now,
            dead_at=now - timedelta(seconds=n * 7919 % LETTERS),
        )
        for n, (message, topic, subscription) in enumerate(pairs)
    )
    broker.delete_topic("gone")
    with connection.cursor() as cursor:
        for table in (DeadLetter, Message, Topic, Subscription):
            cursor.execute(f"ANALYZE {table._meta.db_table}")


@pytest.fixture(scope="module")
def _many(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock():
        with transaction.atomic():
            fill()
        connection.close()
    yield
    with django_db_blocker.unblock():
        tables = ", ".join(
            f"datapunk_broker_{name}" for name in ("deadletter", "delivery", "message", "subscription", "topic")
        )
        with connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {tables} CASCADE")
        connection.close()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def plans(api: Api, path: str) -> list[list[dict[str, Any]]]:
    """Ask for a list; return the plans of its statements about dead letters, as they ran."""
    found: list[list[dict[str, Any]]] = []

    def explain(execute: Any, sql: str, params: Any, *rest: Any) -> Any:
        if f'FROM "{TABLE}"' in sql and not sql.startswith("EXPLAIN"):
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", params)
                [[plan]] = cursor.fetchall()
            [whole] = json.loads(plan) if isinstance(plan, str) else plan
            found.append(list(nodes(whole["Plan"])))
        return execute(sql, params, *rest)

    with connection.execute_wrapper(explain):
        answer = api.get(path)
    assert answer.status_code == 200
    assert answer.json()["results"]
    return found


QUERIES = {
    "": "broker_dead_letter_open",
    "subscription=topic-1-2": "broker_dead_letter_sub",
    "topic=topic-1": "broker_dead_letter_topic",
    "reason=timeout": "broker_dead_letter_reason",
}


@pytest.mark.parametrize("size", [50, 200])
@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.django_db
@pytest.mark.usefixtures("_many")
def test_a_page_of_dead_letters_is_read_off_an_index_in_order(api: Api, query: str, size: int) -> None:
    choosing, loading = plans(api, f"dead-letters/?page_size={size}&{query}")

    assert_read_off(choosing, QUERIES[query], size + 1)
    assert not [node for node in loading if node["Node Type"] == "Seq Scan" and node["Relation Name"] == TABLE]
    assert max(node["Actual Rows"] for node in loading) <= size


@pytest.mark.django_db
@pytest.mark.usefixtures("_many")
def test_a_later_page_is_read_off_the_index_as_the_first(api: Api) -> None:
    first = api.get("dead-letters/", subscription="topic-1-2").json()

    choosing, _ = plans(api, first["next"])

    assert_read_off(choosing, "broker_dead_letter_sub", 300)


@pytest.mark.django_db
@pytest.mark.usefixtures("_many")
def test_whose_rights_are_granted_reads_off_the_index_of_their_topic() -> None:
    choosing, _ = plans(Api(granted("topic-1", "subscribe")), "dead-letters/")

    assert_read_off(choosing, "broker_dead_letter_topic", 51)


def assert_read_off(plan: list[dict[str, Any]], index: str, most: int) -> None:
    kinds = [node["Node Type"] for node in plan]
    assert not [kind for kind in kinds if "Sort" in kind], kinds
    scans = [node for node in plan if node.get("Relation Name") == TABLE]
    assert [(node["Node Type"], node["Index Name"]) for node in scans] in (
        [("Index Scan", index)],
        [("Index Only Scan", index)],
    )
    assert scans[0]["Actual Rows"] + scans[0].get("Rows Removed by Filter", 0) <= most
