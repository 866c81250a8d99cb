"""What clients cost while they wait: neither threads nor connections to the database, and one reader a topic."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.db import connection, connections, transaction

from datapunk_broker import broker
from datapunk_broker.consumers.cursor import Cursor, Notice
from datapunk_broker.consumers.feed import Feed
from datapunk_broker.consumers.hub import Hub
from datapunk_broker.consumers.threads import for_feeds
from datapunk_broker.engine.read import StreamPage
from tests.consumers.client import Client, connected
from tests.consumers.conftest import PGAPPNAME, Site, make_pull, make_topic, publish
from tests.consumers.test_resuming import hang_up
from tests.consumers.test_sse import events_of, reading
from tests.observability.scraping import samples_of, value

READERS = 25


def until(holds: Callable[[], bool]) -> None:
    """Wait for what becomes so by itself."""
    waiting = threading.Event()
    for _ in range(100):
        if holds():
            return
        waiting.wait(0.05)
    raise AssertionError


def open_at(site: Site, token: str) -> float | None:
    page = httpx.get(f"http://{site.address}/broker/metrics", headers={"Authorization": f"Token {token}"})
    return value(samples_of(page.text), "websocket_connections")


def threads_of(site: Site) -> int:
    return len([*Path(f"/proc/{site.process.pid}/task").iterdir()])


def connections_of_the_site() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [PGAPPNAME])
        return int(cursor.fetchone()[0])


def network_fails(client: Client) -> None:
    client.socket.socket.close()


def frame_is_bad(client: Client) -> None:
    client.socket.send("{")
    assert client.closed() == 4501


def client_leaves(client: Client) -> None:
    client.socket.close()


@pytest.mark.parametrize("end", [network_fails, frame_is_bad, client_leaves])
def test_open_sockets_are_counted_known_or_not_however_they_end(
    site: Site, token: str, end: Callable[[Client], None]
) -> None:
    until(lambda: open_at(site, token) == 0)
    with connected(site.url, token) as known, connected(site.url) as unknown:
        assert open_at(site, token) == 2
        end(known)
        until(lambda: open_at(site, token) == 1)
        end(unknown)
        until(lambda: open_at(site, token) == 0)


def test_a_socket_that_is_turned_away_is_counted_out(site: Site, token: str) -> None:
    with connected(site.url, origin="https://foreign.example") as client:
        assert client.closed() == 4507
    with connected(site.impatient) as client:
        assert client.closed() == 4502
    until(lambda: open_at(site, token) == 0)


@pytest.fixture
def read_fails(transactional_db: None) -> Callable[[Callable[[], None]], None]:
    """Does what makes the site read a stream, and ends its connections to the database while it reads."""

    def fail(ask: Callable[[], None]) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("LOCK TABLE datapunk_broker_streamentry IN ACCESS EXCLUSIVE MODE")
            ask()
            until(lambda: cursor.execute("SELECT FROM pg_locks WHERE NOT granted").rowcount > 0)
            hang_up()

    return fail


@pytest.mark.postgresql
def test_a_socket_that_fails_is_counted_out(
    site: Site, token: str, read_fails: Callable[[Callable[[], None]], None]
) -> None:
    make_topic()
    publish("orders", *(["x" * 500_000] * 4))
    with connected(site.url, token) as client:
        client.subscribe("orders", credit=1, **{"from": "earliest"})
        client.items(1)
        read_fails(lambda: client.say("credit", sid="s", limit=2))
        assert client.hear("goodbye") == {"type": "goodbye", "code": 1011, "reconnect": True}
        assert client.closed() == 1011
    until(lambda: open_at(site, token) == 0)


@pytest.mark.postgresql
def test_clients_that_wait_hold_neither_threads_nor_connections_to_the_database(site: Site, token: str) -> None:
    make_topic()
    make_pull()
    with ExitStack() as stack:
        threads = threads_of(site)
        for _ in range(READERS):
            client = stack.enter_context(connected(site.url, token))
            client.subscribe("orders", "stream")
            client.hear("caught_up")
            client.pull("audit", "pull")
            events = events_of(stack.enter_context(reading(site, token)))
            assert [next(events)["event"] for _ in range(2)] == ["subscribed", "caught_up"]

        until(lambda: threads_of(site) - threads < READERS)
        until(lambda: connections_of_the_site() < READERS)


async def test_many_readers_of_a_topic_read_the_database_once(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    read_stream = broker.read_stream

    def counted(topic: str, after: int, *limits: Any, **more: Any) -> Any:
        reads.append(after)
        return read_stream(topic, after, *limits, **more)

    monkeypatch.setattr(broker, "read_stream", counted)
    hub = Hub()
    feeds = [hub.join("orders", 0, is_kept=True) for _ in range(READERS)]
    cursors = [Cursor(feed, None, 0, 0) for feed in feeds]
    assert {await cursor.next(10) for cursor in cursors} == {Notice.CAUGHT_UP}
    try:
        await for_feeds(make_topic)
        await for_feeds(publish, "orders", 1, 2, 3)
        hub.grew("orders", 3)
        found = await asyncio.gather(*(cursor.next(10) for cursor in cursors))
    finally:
        for feed in feeds:
            hub.leave(feed)
        await for_feeds(connections.close_all)

    assert [len(messages) for messages in found if isinstance(messages, list)] == [3] * READERS
    assert reads == [0]


async def test_a_read_that_fails_for_whatever_reason_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        monkeypatch.setattr(broker, "read_stream", lambda *_, **__: StreamPage(2, 1, ()))
        problem = "a body that cannot be unpacked"
        raise ValueError(problem)

    monkeypatch.setattr(broker, "read_stream", fail)
    feed = Feed("orders", head=0, is_kept=True)
    feed.grew(1)
    await feed.change()
    feed.close()

    assert feed.head == 1
    assert ["could not be read" in record.getMessage() for record in caplog.records] == [True]
