"""What a door that publishes refuses is announced once, under a topic's name only to whoever may see it."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from datapunk_broker import broker, signals
from datapunk_broker.conf import TopicConfig
from tests.api.talk import JSON, ROOT, Api, granted

pytestmark = pytest.mark.django_db

Announced = list[tuple[str, str]]

ONE, MANY = "messages/", "messages/batch/"
EVENT, EVENTS = "application/cloudevents+json", "application/cloudevents-batch+json"
LARGE = b" " * (16 * 1024 * 1024 + 1)
WRONG_HEADERS = {"Ce-Specversion": "0.3", "Ce-Id": "1", "Ce-Source": "s", "Ce-Type": "t"}


@pytest.fixture
def announced() -> Iterator[Announced]:
    heard: Announced = []

    def hear(topic: str, code: str, **_: Any) -> None:
        heard.append((topic, code))

    signals.publish_refused.connect(hear)
    yield heard
    signals.publish_refused.disconnect(hear)


@pytest.fixture
def publisher(db: None) -> Api:
    """Somebody who may publish orders, and nothing else."""
    broker.create_topic(TopicConfig("orders", max_message_size=1000))
    broker.create_topic(TopicConfig("live", persistent=False))
    broker.create_topic(TopicConfig("secret"))
    return Api(granted("orders", "publish"))


REFUSED = [
    (ONE, b"{", JSON, "payload_invalid"),
    (ONE, b'{"payload": 1, "prioritty": 9}', JSON, "payload_invalid"),
    (ONE, b'{"payload": 1, "reply_to": "secret"}', JSON, "topic_not_found"),
    (ONE, b"x", "text/plain", "unsupported_media_type"),
    (ONE, LARGE, JSON, "message_too_large"),
    (ONE, b"[]", EVENT, "payload_invalid"),
    (ONE, b"[{}]", EVENTS, "payload_invalid"),
    (MANY, b"[]", JSON, "payload_invalid"),
    (MANY, b"{}", EVENTS, "payload_invalid"),
    (ONE, b'{"payload": "%s"}' % (b"x" * 2000), JSON, "message_too_large"),
    (MANY, b'{"messages": [{"payload": 1, "routing_key": "\\u0000"}]}', JSON, "payload_invalid"),
]


@pytest.mark.parametrize("refused", REFUSED, ids=[f"{n}-{row[-1]}" for n, row in enumerate(REFUSED)])
def test_a_refusal_is_announced_once(
    publisher: Api, announced: Announced, refused: tuple[str, bytes, str, str]
) -> None:
    path, body, kind, code = refused

    answer = publisher.send("POST", f"topics/orders/{path}", body, kind)

    assert (answer.status_code >= 400, answer.json()["code"]) == (True, code)
    assert announced == [("orders", code)]


def test_an_event_in_headers_that_is_none_is_announced_once(publisher: Api, announced: Announced) -> None:
    assert publisher.send("POST", "topics/orders/messages/", b"1", headers=WRONG_HEADERS).status_code == 400

    assert announced == [("orders", "payload_invalid")]


@pytest.mark.parametrize("path", [ONE, MANY])
def test_no_label_takes_the_name_of_a_topic_that_one_may_not_see(
    publisher: Api, announced: Announced, path: str
) -> None:
    for topic in ("secret", "nowhere"):
        assert publisher.post(f"topics/{topic}/{path}", b"{").status_code == 404
        assert publisher.post(f"topics/{topic}/{path}", LARGE).status_code == 413

    assert announced == 2 * [("unknown", "topic_not_found"), ("unknown", "message_too_large")]


def test_who_may_see_a_topic_and_not_publish_there_is_told_of(publisher: Api, announced: Announced) -> None:
    reader = Api(granted("orders", "subscribe", name="bob"))

    assert reader.post("topics/orders/messages/", {"payload": 1}).status_code == 403
    assert announced == [("orders", "permission_denied")]


def test_who_is_not_known_is_not_counted_and_a_form_is_not_parsed_to_know_them(
    publisher: Api, announced: Announced
) -> None:
    stranger = Api()
    assert stranger.post("topics/orders/messages/", b"{").status_code == 401
    assert stranger.post("topics/orders/messages/", LARGE).status_code == 413
    publisher.client.force_login(publisher.user)  # type: ignore[arg-type]
    publisher.headers = {}
    form = "application/x-www-form-urlencoded"
    assert publisher.send("POST", "topics/orders/messages/", b"a=1&" * 2_000_000, form).status_code == 415

    assert announced == []


def test_what_is_taken_or_asked_and_not_published_is_no_refusal(api: Api, publisher: Api, announced: Announced) -> None:
    event = {"specversion": "1.0", "id": "1", "source": "s", "type": "t"}
    assert api.post("topics/live/messages/", event | {"data": 1}).status_code == 400
    assert announced == [("live", "payload_invalid")]
    announced.clear()

    assert api.send("POST", "topics/live/messages/", event, EVENT).status_code == 201
    assert api.send("POST", "topics/live/messages/", [event], EVENTS).status_code == 201
    assert publisher.get("topics/orders/messages/").status_code == 403
    assert Client().get(f"{ROOT}topics/orders/messages/").status_code == 401

    assert announced == []
