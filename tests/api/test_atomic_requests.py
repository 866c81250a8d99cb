"""Where every request is a transaction, what waits is none, whatever databases there are."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.models import Topic
from tests.api.serving import Server, serving


@pytest.fixture
def atomic(transactional_db: None, tmp_path: Path) -> Iterator[Server]:
    broker.create_topic(TopicConfig("orders", stream=True))
    broker.create_subscription(SubscriptionConfig("audit", "orders", transport="pull"))
    broker.publish("orders", 1)
    with serving(tmp_path / "log", DJANGO_SETTINGS_MODULE="tests.api.atomic_settings") as server:
        yield server


def test_pulls_and_event_streams_are_served_where_every_request_is_a_transaction(atomic: Server, token: str) -> None:
    with httpx.Client(headers={"Authorization": f"Token {token}"}, timeout=30) as client:
        pulled = client.post(f"{atomic.root}subscriptions/audit/pull/", json={"wait_seconds": 0.1})
        with client.stream("GET", f"{atomic.url}/broker/stream/orders/") as stream:
            begun = next(line for line in stream.iter_lines() if line.startswith("event"))
        again = client.post(f"{atomic.root}topics/", json={"name": "orders"})
        made = client.post(f"{atomic.root}topics/", json={"name": "people"})

    assert (pulled.status_code, [message["payload"] for message in pulled.json()["messages"]]) == (200, [1])
    assert (stream.status_code, begun) == (200, "event: subscribed")
    assert (again.status_code, made.status_code) == (400, 201)
    assert set(Topic.objects.values_list("name", flat=True)) == {"orders", "people"}
