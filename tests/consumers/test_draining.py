"""A server that ends lets its clients leave first."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.consumers.client import PATIENCE, connected
from tests.consumers.conftest import Site, free_port, make_pull, make_topic, payloads, start_site
from tests.consumers.test_slow import narrow
from tests.consumers.test_sse import events_of, reading


@pytest.fixture
def own_site(transactional_db: None, tmp_path: Path) -> Iterator[Site]:
    """A site for one test alone."""
    port = free_port()
    process = start_site(port=port, log=tmp_path / "log")
    yield Site(process, port)
    process.kill()
    process.wait(PATIENCE)


def test_every_client_is_told_to_come_again_and_the_server_ends(own_site: Site, token: str) -> None:
    make_topic()
    with (
        connected(own_site.url, token) as reader,
        connected(own_site.url) as unknown,
        narrow(own_site.url, token) as stalled,
        reading(own_site, token) as response,
    ):
        reader.subscribe("orders")
        reader.hear("caught_up")
        stalled.subscribe("orders")
        events = events_of(response)
        assert [next(events)["event"] for _ in range(2)] == ["subscribed", "caught_up"]

        own_site.process.send_signal(signal.SIGTERM)

        for client in (reader, unknown):
            frames = client.hear_until(lambda frame: frame["type"] == "goodbye")
            assert frames[-1] == {"type": "goodbye", "code": 4001, "reconnect": True}
            assert client.closed() == 4001
        assert next(events)["data"] == {"code": "draining"}
        assert next(events, None) is None
        own_site.process.wait(PATIENCE)


def test_a_server_with_everything_in_one_process_needs_no_other_and_ends_on_ctrl_c(
    transactional_db: None, tmp_path: Path, token: str
) -> None:
    make_topic()
    make_topic("ticks", persistent=False)
    make_pull("audit")
    port = free_port()
    process = start_site(port=port, log=tmp_path / "log", SITE_IS_ALONE="1")
    try:
        site = Site(process, port)
        with connected(site.url, token) as client, connected(site.url, token) as publisher:
            client.subscribe("orders", "stream")
            client.hear("caught_up")
            client.subscribe("ticks", "live")
            client.hear("caught_up")
            client.pull("audit", "pull")
            for topic in ("orders", "ticks"):
                publisher.say("publish", id=topic, topic=topic, payload=topic)
            heard = [client.hear("messages") for _ in range(3)]
            process.send_signal(signal.SIGINT)
            assert client.hear("goodbye")["code"] == 4001
        assert {frame["sid"]: payloads(frame["items"]) for frame in heard} == {
            "stream": ["orders"],
            "pull": ["orders"],
            "live": ["ticks"],
        }
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait(PATIENCE)
