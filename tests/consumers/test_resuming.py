"""A client that is cut off again and again, while four publishers write: nothing is missing, nothing comes twice."""

import random
import threading
from typing import Any

from django.db import connections, transaction

from datapunk_broker import broker
from tests.consumers.client import connected
from tests.consumers.conftest import Site, make_topic, payloads

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
