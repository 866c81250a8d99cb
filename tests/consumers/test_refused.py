"""What closes a socket."""

import json

from tests.consumers.client import connected
from tests.consumers.conftest import Site, make_topic

INVALID = (
    "",
    "{",
    "[]",
    "{}",
    '{"type":"welcome"}',
    '{"type":"credit","sid":"s"}',
    '{"type":"credit","sid":null,"limit":1}',
    '{"type":"credit","sid":"s","limit":-1}',
    '{"type":"subscribe","sid":"s","credit":1}',
    '{"type":"subscribe","sid":"s","topic":"a","subscription":"b"}',
    '{"type":"subscribe","sid":"s","topic":"a","from":{"position":1,"time":1}}',
    '{"type":"subscribe","sid":"s","topic":"a","from":{"position":-1}}',
    '{"type":"subscribe","sid":"s","topic":"a","from":{"time":"2026-01-01T00:00:00"}}',
    '{"type":"publish","id":1,"topic":"a","payload":NaN}',
    '{"type":"nack","sid":"s","ack_ids":["a"],"delay":1e300}',
    '{"type":"ping"}{"type":"ping"}',
    '{"type":"ping","of_a_newer_client":true}',
    '{"type":"publish","id":1,"topic":"a","payload":1,"prioritty":9}',
    "[" * 100_000,
    '{"type":"publish","id":1,"topic":"a","payload":' + "[" * 100_000,
)


def test_a_frame_that_is_not_valid_closes_and_says_why(site: Site, token: str) -> None:
    for text in INVALID:
        with connected(site.url, token) as client:
            client.socket.send(text)
            error = client.hear("error")
            assert (error["code"], bool(error["detail"])) == ("frame_invalid", True), text
            assert client.hear("goodbye") == {"type": "goodbye", "code": 4501, "reconnect": False}
            assert client.closed() == 4501
            assert client.socket.close_reason == "bad_frame"


def test_a_binary_frame_closes(site: Site, token: str) -> None:
    with connected(site.url, token) as client:
        client.socket.send(b'{"type":"ping"}')
        assert client.closed() == 4501


def test_a_frame_is_measured_before_it_is_read(site: Site, token: str) -> None:
    with connected(site.impatient, token) as client:
        client.socket.send(json.dumps({"type": "ping", "filling": "ä" * 60_000}, ensure_ascii=False))
        assert "100000 bytes" in client.hear("error")["detail"]
        assert client.closed() == 4501


def test_too_many_subscriptions_close(site: Site, token: str) -> None:
    make_topic()
    with connected(site.impatient, token) as client:
        client.subscribe("orders", 1)
        client.hear("caught_up")
        client.subscribe("orders", 2)
        client.hear("caught_up")
        client.say("subscribe", sid=3, topic="orders")
        assert client.hear("goodbye") == {"type": "goodbye", "code": 4505, "reconnect": False}
        assert client.closed() == 4505


def test_too_many_frames_close_and_one_may_come_again(site: Site, token: str) -> None:
    with connected(site.impatient, token) as client:
        for _ in range(60):
            client.say("ping")
        frames = client.hear_until(lambda frame: frame["type"] == "goodbye")
        assert frames[-1] == {"type": "goodbye", "code": 4013, "reconnect": True}
        assert 40 <= len(frames[:-1]) < 60
        assert client.closed() == 4013


def test_a_client_that_pinged_and_fell_silent_is_gone(site: Site, token: str) -> None:
    with connected(site.impatient, token) as client:
        client.say("ping")
        client.hear("pong")
        assert client.hear("goodbye") == {"type": "goodbye", "code": 4012, "reconnect": True}
        assert client.closed() == 4012


def test_a_client_that_never_pinged_may_be_silent(site: Site, token: str) -> None:
    with connected(site.impatient, token) as client:
        client.silence(1.0)
