"""A topic's stream as server-sent events."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec
from django.contrib.auth.models import User

from datapunk_broker import broker
from datapunk_broker.models import StreamEntry, TopicGrant
from tests.consumers.conftest import Site, make_topic, publish, token_of
from tests.consumers.test_hello import cookie_of

Event = dict[str, Any]


def events_of(response: httpx.Response) -> Iterator[Event]:
    """Read the stream as a browser does."""
    event: Event = {}
    for line in response.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        elif "data" in event:
            yield {"event": "message", **event, "data": json.loads(event["data"])}
            event = {}


@contextmanager
def reading(site: Site, token: str | None, topic: str = "orders", **options: Any) -> Iterator[httpx.Response]:
    headers = {"Authorization": f"Token {token}"} if token else {}
    headers |= options.pop("headers", {})
    url = f"http://{site.address}/broker/stream/{topic}/"
    with httpx.stream("GET", url, headers=headers, timeout=20, **options) as response:
        yield response


def test_messages_come_as_events_whose_id_is_their_position(site: Site, token: str) -> None:
    make_topic()
    publish("orders", {"id": 1})
    with reading(site, token) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-cache"
        events = events_of(response)
        subscribed = next(events)
        assert (subscribed["event"], subscribed["data"]) == ("subscribed", {"oldest": 1, "head": 1})
        assert subscribed["id"] == "1"
        assert next(events)["event"] == "caught_up"
        broker.publish("orders", b"plain\r\ntext", content_type="text/plain")
        publish("orders", {"id": 2, "text": "two\nlines"}, routing_key="eu")
        text, message = next(events), next(events)
    assert (text["id"], text["data"]["payload"]) == ("2", "plain\r\ntext")
    assert (message["event"], message["id"]) == ("message", "3")
    assert message["data"]["payload"] == {"id": 2, "text": "two\nlines"}
    assert (message["data"]["position"], message["data"]["previous"]) == (3, 2)
    assert (message["data"]["topic"], message["data"]["routing_key"]) == ("orders", "eu")


def test_a_payload_with_line_breaks_is_one_event(site: Site, token: str) -> None:
    make_topic()
    broker.publish("orders", msgspec.Raw(b'{\r\n  "id":\n 1}'))
    publish("orders", 2)
    with reading(site, token, params={"from": "earliest"}) as response:
        events = events_of(response)
        next(events)
        assert [next(events)["data"]["payload"] for _ in range(2)] == [{"id": 1}, 2]


def test_last_event_id_goes_on_behind_it(site: Site, token: str) -> None:
    make_topic()
    publish("orders", *range(1, 6))
    with reading(site, token, headers={"Last-Event-ID": "3"}) as response:
        events = events_of(response)
        next(events)
        assert [next(events)["data"]["payload"] for _ in range(2)] == [4, 5]
        assert next(events)["event"] == "caught_up"


def test_history_that_is_gone_is_a_reset_whose_id_is_a_place_to_go_on_from(site: Site, token: str) -> None:
    make_topic()
    publish("orders", *range(1, 6))
    StreamEntry.objects.filter(position__lte=3).delete()
    with reading(site, token, headers={"Last-Event-ID": "1"}) as response:
        events = events_of(response)
        next(events)
        reset = next(events)
        assert (reset["event"], reset["id"]) == ("reset", "3")
        assert reset["data"] == {"reason": "pruned", "oldest": 4, "head": 5}
        assert [next(events)["data"]["payload"] for _ in range(2)] == [4, 5]


def test_messages_are_chosen_by_routing_key_and_headers(site: Site, token: str) -> None:
    make_topic(type="topic")
    for key, tier in (("eu.paid", "gold"), ("us.paid", "gold"), ("eu.sent", "tin")):
        publish("orders", key, routing_key=key, headers={"tier": tier})
    params = {"from": "earliest", "routing_key": "eu.*", "headers": '{"tier": "tin"}'}
    with reading(site, token, params=params) as response:
        events = events_of(response)
        next(events)
        assert next(events)["data"]["payload"] == "eu.sent"


def test_the_session_is_enough_for_a_page_of_the_site(site: Site) -> None:
    make_topic()
    user = User.objects.create_superuser("root")
    with reading(site, None, headers=cookie_of(user)) as response:
        assert next(events_of(response))["event"] == "subscribed"


PROBLEMS: tuple[tuple[str, str, dict[str, str], int, str], ...] = (
    ("nobody", "orders", {}, 401, "not_authenticated"),
    ("wrong token", "orders", {}, 401, "not_authenticated"),
    ("stranger", "orders", {}, 404, "topic_not_found"),
    ("publisher", "orders", {}, 403, "permission_denied"),
    ("root", "nowhere", {}, 404, "topic_not_found"),
    ("root", "orders", {"from": "now"}, 400, "payload_invalid"),
    ("root", "orders", {"headers": "["}, 400, "payload_invalid"),
    ("root", "orders", {"headers": "[" * 9000}, 400, "payload_invalid"),
    ("root", "orders", {"headers": "{}", "routing_key": "\0"}, 400, "binding_invalid"),
    ("root", "unstreamed", {}, 400, "config_invalid"),
)


def test_what_cannot_be_read_is_a_problem(site: Site) -> None:
    make_topic()
    make_topic("unstreamed", stream=False)
    publisher = User.objects.create_user("publisher")
    TopicGrant.objects.create(user=publisher, topic="orders", publish=True)
    tokens = {
        "stranger": token_of(User.objects.create_user("stranger")),
        "publisher": token_of(publisher),
        "root": token_of(User.objects.create_superuser("root")),
        "wrong token": "wrong",
    }
    for who, topic, params, status, code in PROBLEMS:
        with reading(site, tokens.get(who), topic, params=params) as response:
            problem = json.loads(response.read())
        assert (response.status_code, problem["status"], problem["code"]) == (status, status, code), (who, params)
        assert response.headers["Content-Type"] == "application/problem+json"
        assert ("WWW-Authenticate" in response.headers) is (status == 401)


def test_a_last_event_id_that_is_none_is_a_problem(site: Site, token: str) -> None:
    make_topic()
    for last in ("abc", "-1", "9" * 30):
        with reading(site, token, headers={"Last-Event-ID": last}) as response:
            assert response.status_code == 400


def test_only_get_is_answered(site: Site, token: str) -> None:
    url = f"http://{site.address}/broker/stream/orders/"
    assert httpx.post(url, headers={"Authorization": f"Token {token}"}).status_code == 405


def test_a_deleted_topic_ends_the_stream_with_its_reason(site: Site, token: str) -> None:
    make_topic()
    with reading(site, token) as response:
        events = events_of(response)
        assert [next(events)["event"] for _ in range(2)] == ["subscribed", "caught_up"]
        broker.delete_topic("orders", force=True)
        (last,) = events
        assert (last["event"], last["data"]) == ("unsubscribed", {"code": "topic_not_found"})
