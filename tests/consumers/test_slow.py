"""Clients that take nothing: they hold nobody up, and cost a place, not memory."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.consumers.client import Client, connected
from tests.consumers.conftest import Site, make_topic, publish

MIB = 1024 * 1024


def memory_of(site: Site) -> int:
    """Return the bytes that the server has in memory."""
    status = Path(f"/proc/{site.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


@contextmanager
def narrow(url: str, token: str) -> Iterator[Client]:
    """Connect with small buffers, so that little is on its way while nothing is taken."""
    host, port = url.split("/")[2].split(":")
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.connect((host, int(port)))
    with connected(url, token, sock=plain, max_queue=1, close_timeout=0.2) as client:
        yield client


def test_readers_that_stall_hold_nobody_up_and_cost_no_memory_and_miss_nothing(site: Site, token: str) -> None:
    make_topic()
    filling = "x" * 100_000
    with ExitStack() as stack:
        stalled = [stack.enter_context(narrow(site.url, token)) for _ in range(6)]
        for client in stalled:
            client.subscribe("orders", credit=10_000)
        quick = stack.enter_context(connected(site.url, token))
        quick.subscribe("orders", credit=10_000)
        quick.hear("caught_up")
        publish("orders", *([filling] * 20))
        quick.items(20)
        before = memory_of(site)

        for _ in range(5):
            publish("orders", *([filling] * 20))
            quick.items(20)

        # 10 MB were published, so 60 MB are owed to those who took nothing.
        assert memory_of(site) - before < 20 * MIB
        stalled[0].socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MIB)
        items = stalled[0].items(120)
        assert [item["position"] for item in items] == [*range(1, 121)]


def test_what_a_client_asks_is_done_although_it_takes_nothing_at_the_moment(
    site: Site, token: str, pumping: None
) -> None:
    make_topic()
    publish("orders", *(["x" * 100_000] * 100))
    with narrow(site.url, token) as client, connected(site.url, token) as other:
        client.subscribe("orders", credit=10_000, **{"from": "earliest"})
        other.subscribe("orders")
        other.hear("caught_up")
        threading.Event().wait(0.3)
        client.say("publish", id=1, topic="orders", payload="said while stalled")
        assert [item["payload"] for item in other.items(1)] == ["said while stalled"]


def test_a_client_that_takes_nothing_for_too_long_is_closed(site: Site, token: str) -> None:
    make_topic()
    publish("orders", *(["x" * 500_000] * 30))  # more than the systems' buffers take
    with narrow(site.impatient, token) as client:
        client.subscribe("orders", credit=50, **{"from": "earliest"})
        threading.Event().wait(1.5)
        client.socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MIB)
        frames = client.hear_until(lambda frame: frame["type"] == "goodbye")
        assert frames[-1] == {"type": "goodbye", "code": 4008, "reconnect": True}
        assert client.closed() == 4008


def test_a_flood_of_pings_from_a_client_that_takes_no_pong_is_not_kept_in_memory(site: Site, token: str) -> None:
    with narrow(site.url, token) as client:
        before = memory_of(site)
        ping = json.dumps({"type": "ping"}) + " " * 500
        client.socket.socket.settimeout(1.0)
        try:
            for _ in range(1_500):
                client.socket.send(ping)
        except TimeoutError:
            pass
        assert memory_of(site) - before < 10 * MIB
