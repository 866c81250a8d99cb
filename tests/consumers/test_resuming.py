"""A client that is cut off again and again, while four publishers write: nothing is missing, nothing comes twice."""

import random
import threading
from typing import Any

import pytest
from django.db import connection, connections, transaction
from websockets.exceptions import ConnectionClosed

from datapunk_broker import broker
from tests.consumers.client import connected
from tests.consumers.conftest import PGAPPNAME, Site, make_topic, payloads

EACH = 150
WRITERS = 4


def write(writer: int) -> None:
    """Publish, now and then holding a transaction open for longer or undoing one: what commits late has a place too."""
    draw, pause = random.Random(writer), threading.Event()
    try:
        for n in range(EACH):
            fate = draw.random()
            with transaction.atomic():
                broker.publish("orders", [writer, n], routing_key=f"writer.{writer}")
                if fate < 0.2:
                    pause.wait(0.02)
            if fate > 0.9:
                with transaction.atomic():
                    broker.publish("orders", "undone", routing_key=f"writer.{writer}")
                    transaction.set_rollback(True)
    finally:
        connections.close_all()


def test_a_client_cut_off_every_few_messages_sees_every_message_once_in_order(
    site: Site, token: str, pumping: None
) -> None:
    make_topic(type="topic")
    writers = [threading.Thread(target=write, args=(n,)) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    draw, seen, last, cuts = random.Random(7), list[dict[str, Any]](), 0, 0

    while len(seen) < WRITERS * EACH:
        with connected(site.url, token) as client:
            client.subscribe("orders", credit=draw.randint(1, 60), **{"from": {"position": last}})
            enough = len(seen) + draw.randint(1, 30)
            while len(seen) < min(enough, WRITERS * EACH):
                frame = client.hear("messages", "caught_up", patience=30)
                seen += frame.get("items", [])
                client.say("credit", sid="s", limit=100)
            last = seen[-1]["position"]
            cuts += 1
            client.socket.socket.close()  # no goodbye
    for writer in writers:
        writer.join()

    assert [item["position"] for item in seen] == [*range(1, WRITERS * EACH + 1)]
    assert [item["previous"] for item in seen] == [*range(WRITERS * EACH)]
    assert sorted(payloads(seen)) == [[writer, n] for writer in range(WRITERS) for n in range(EACH)]
    assert cuts > 10


def test_a_filtered_client_sees_by_previous_that_it_misses_nothing(site: Site, token: str, pumping: None) -> None:
    make_topic(type="topic")
    writers = [threading.Thread(target=write, args=(n,)) for n in range(2)]
    for writer in writers:
        writer.start()
    draw, seen, last = random.Random(11), list[Any](), 0

    while len(seen) < EACH:
        with connected(site.url, token) as client:
            client.subscribe("orders", credit=EACH, routing_key="writer.1", **{"from": {"position": last}})
            enough = min(EACH, len(seen) + draw.randint(1, 30))
            while len(seen) < enough:
                for item in client.hear("messages", "caught_up", patience=30).get("items", []):
                    assert item["previous"] == last
                    last = item["position"]
                    seen.append(item["payload"])
    for writer in writers:
        writer.join()

    assert sorted(seen) == [[1, n] for n in range(EACH)]


@pytest.mark.postgresql
def test_a_database_that_hangs_up_costs_nobody_a_message(site: Site, token: str, pumping: None) -> None:
    make_topic()
    seen, last = list[Any](), 0
    while len(seen) < 30:
        with connected(site.url, token) as client:
            client.subscribe("orders", credit=100, **{"from": {"position": last}})
            while len(seen) < 30:
                broker.publish("orders", "message")
                if len(seen) % 10 == 5:
                    hang_up()
                try:
                    items = client.hear("messages", "caught_up").get("items", [])
                except (AssertionError, ConnectionClosed):
                    break  # it said that it failed, or goodbye
                seen += [item["position"] for item in items]
                last = max(seen, default=0)
    assert seen == [*range(1, len(seen) + 1)]


def hang_up() -> None:
    """End the connections that the site's server has to the database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", [PGAPPNAME]
        )
