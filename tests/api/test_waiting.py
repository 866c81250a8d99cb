"""Waiting for messages: on a real server, many at once, and nothing held by each."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from django.db import connection

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.models import Delivery
from tests.api.serving import Server
from tests.processes import until

pytestmark = pytest.mark.django_db(transaction=True)

WAITERS = 50
PATIENCE = 30.0

Pulls = Callable[..., "Future[list[Any]]"]


@pytest.fixture
def pulls(server: Server, token: str) -> Iterator[Pulls]:
    """Start a pull beside the test; its payloads are the future's."""
    limits = httpx.Limits(max_connections=None)
    headers = {"Authorization": f"Token {token}"}

    def pull(name: str = "audit", **body: Any) -> list[Any]:
        asked = {"wait_seconds": 20, "max_messages": 1, **body}
        answer = client.post(f"subscriptions/{name}/pull/", json=asked)
        assert answer.status_code == 200, answer.text
        return [message["payload"] for message in answer.json()["messages"]]

    with (
        httpx.Client(base_url=server.root, headers=headers, timeout=PATIENCE, limits=limits) as client,
        ThreadPoolExecutor(WAITERS) as pool,
    ):
        yield lambda *args, **body: pool.submit(pull, *args, **body)


@pytest.fixture(autouse=True)
def _orders(transactional_db: None) -> None:
    broker.create_topic(TopicConfig("orders"))
    broker.create_subscription(SubscriptionConfig("audit", "orders", transport="pull"))


def backends() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def becomes(look: Callable[[], int], expected: int) -> bool:
    return until(lambda: look() <= expected, lambda: f"{look()} are not {expected}", PATIENCE)


@pytest.mark.postgresql
def test_waiting_holds_neither_thread_nor_connection(server: Server, pulls: Pulls) -> None:
    one = pulls()
    pause(1)
    connections, threads = backends(), server.threads

    many = [pulls() for _ in range(WAITERS - 1)]
    pause(2)

    assert becomes(backends, connections)
    assert becomes(lambda: server.threads, threads)
    assert not any(waiting.done() for waiting in (one, *many))
    broker.publish_many("orders", [broker.Outgoing(n) for n in range(WAITERS)])
    assert sorted(waiting.result(PATIENCE) for waiting in (one, *many)) == [[n] for n in range(WAITERS)]
    assert becomes(backends, connections - 1)


def test_a_message_published_by_another_process_ends_the_wait(pulls: Pulls) -> None:
    waiting = pulls()
    pause(0.5)
    assert not waiting.done()

    began = time.monotonic()
    broker.publish("orders", "now")

    assert waiting.result(PATIENCE) == ["now"]
    assert time.monotonic() - began < PATIENCE / 3


def test_a_message_published_through_the_same_server_ends_the_wait(server: Server, pulls: Pulls, token: str) -> None:
    waiting = pulls()
    pause(0.5)

    headers = {"Authorization": f"Token {token}"}
    httpx.post(f"{server.root}topics/orders/messages/", json={"payload": "now"}, headers=headers).raise_for_status()

    assert waiting.result(PATIENCE) == ["now"]


def test_a_wait_ends_when_its_time_is_up(pulls: Pulls) -> None:
    began = time.monotonic()

    assert pulls(wait_seconds=0.4).result(PATIENCE) == []
    assert 0.4 <= time.monotonic() - began < PATIENCE / 3


def test_what_is_there_already_is_not_waited_for(pulls: Pulls) -> None:
    broker.publish("orders", "there")

    assert pulls().result(PATIENCE) == ["there"]


def test_a_paused_subscription_keeps_who_pulls_waiting(pulls: Pulls) -> None:
    broker.pause("audit")
    broker.publish("orders", 1)
    waiting = pulls()
    pause(0.5)
    assert not waiting.done()

    broker.resume("audit")

    assert waiting.result(PATIENCE) == [1]


def test_whoever_goes_away_takes_no_message_along(server: Server, pulls: Pulls, token: str) -> None:
    headers = {"Authorization": f"Token {token}"}
    for _ in range(3):
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{server.root}subscriptions/audit/pull/", json={"wait_seconds": 20}, headers=headers, timeout=0.5
            )
    pause(0.5)

    broker.publish("orders", 1)

    assert pulls().result(PATIENCE) == [1]
    assert Delivery.objects.get(subscription__name="audit").claims == 1


def test_a_subscription_that_is_deleted_meanwhile_ends_in_an_empty_answer(pulls: Pulls) -> None:
    waiting = pulls(wait_seconds=1)
    pause(0.3)

    broker.delete_subscription("audit")

    assert waiting.result(PATIENCE) == []


def test_those_who_wait_for_different_subscriptions_do_not_wait_for_each_other(pulls: Pulls) -> None:
    for n in range(3):
        broker.create_subscription(SubscriptionConfig(f"other-{n}", "orders", transport="pull"))
    broker.pause("other-1")
    waiting = [pulls(f"other-{n}", wait_seconds=3) for n in range(3)]
    pause(0.5)

    broker.publish("orders", 1)

    assert [waiting[n].result(PATIENCE) for n in range(3)] == [[1], [], [1]]
