"""Messages that are kept, and what became of them."""

from datetime import timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.models import Message
from tests.api.talk import Api
from tests.engine.make import aged

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _orders(db: None) -> None:
    broker.create_topic(TopicConfig("orders"))
    for name in ("audit", "billing", "shipping"):
        broker.create_subscription(SubscriptionConfig(name, "orders", transport="pull", max_attempts=2, retry_delay=0))


def payloads(api: Api, path: str = "topics/orders/messages/", **query: Any) -> list[Any]:
    answer = api.get(path, **query)
    assert answer.status_code == 200, answer.content
    return [message["payload"] for message in answer.json()["results"]]


def test_messages_are_listed_the_newest_first(api: Api) -> None:
    broker.publish_many("orders", [broker.Outgoing(n) for n in range(3)])

    assert payloads(api) == [2, 1, 0]


def test_a_message_is_read_by_its_id(api: Api) -> None:
    receipt = broker.publish("orders", {"id": 7}, headers={"a": 1}, idempotency_key="k", ttl=timedelta(hours=1))

    message = api.get(f"messages/{receipt.message_id}/").json()

    assert (message["id"], message["topic"], message["payload"]) == (str(receipt.message_id), "orders", {"id": 7})
    assert (message["headers"], message["idempotency_key"], message["redriven_from"]) == ({"a": 1}, "k", None)
    assert message["published_at"] < message["expires_at"]


def test_a_message_that_is_not_there_is_told_by_its_code(api: Api) -> None:
    assert api.get(f"messages/{uuid4()}/").json()["code"] == "message_not_found"
    assert api.get(f"messages/{uuid4()}/deliveries/").json()["code"] == "message_not_found"
    assert api.get("messages/nonsense/").json()["code"] == "not_found"
    assert api.get("topics/nowhere/messages/").json()["code"] == "topic_not_found"


def test_messages_are_found_by_routing_key(api: Api) -> None:
    for key in ("a", "a.b", ""):
        broker.publish("orders", key, routing_key=key)

    assert payloads(api, routing_key="a.b") == ["a.b"]
    assert payloads(api, routing_key="") == [""]
    assert payloads(api, routing_key="null") == []


HEADERS = [
    ("tier:gold", ["text"]),
    ("tier:", ["empty"]),
    ("tier", ["object", "colon", "truth", "number", "empty", "text"]),
    ("tier:1", ["number"]),
    ("tier:true", ["truth"]),
    ("tier:a:b", ["colon"]),
    ("tier:GOLD", []),
    ("other:gold", []),
    ("12345678901234567890:1", []),
    ("12345678901234567890", []),
    ("0:x", []),
    ("a'b\"c\\d%s{}[]:x", []),
]


@pytest.mark.parametrize(("header", "found"), HEADERS)
def test_messages_are_found_by_header(api: Api, header: str, found: list[str]) -> None:
    values = {"text": "gold", "empty": "", "number": 1, "truth": True, "colon": "a:b", "object": {"gold": 1}}
    for name, value in values.items():
        broker.publish("orders", name, headers={"tier": value})

    assert payloads(api, header=header) == found


@pytest.mark.parametrize("name", ["-1", "0", 'a"b', "a.b", "$", "a[0]", ""])
def test_messages_are_found_by_a_header_of_any_name(api: Api, name: str) -> None:
    broker.publish("orders", "that", headers={name: "x"})
    broker.publish("orders", "other", headers={"x": name})

    assert payloads(api, header=f"{name}:x") == ["that"]
    assert payloads(api, header=name) == ["that"]
    assert payloads(api, header=f"{name}:y") == []


def test_all_headers_that_are_asked_for_must_hold(api: Api) -> None:
    for n, headers in enumerate([{"a": "1", "b": "2"}, {"a": "1"}]):
        broker.publish("orders", n, headers=headers)

    assert payloads(api, header=["a:1", "b:2"]) == [0]


def test_messages_are_found_by_when_they_were_published(api: Api) -> None:
    for n in range(3):
        receipt = broker.publish("orders", n)
        aged([Message.objects.get(pk=receipt.message_id)], timedelta(minutes=3 - n))
    middle = Message.objects.order_by("published_at")[1].published_at.isoformat()

    assert payloads(api, since=middle) == [2, 1]
    assert payloads(api, until=middle) == [0]
    assert payloads(api, since=middle, until=middle) == []
    assert payloads(api, f"topics/orders/messages/?since={quote(middle, safe='+')}") == [2, 1]


@pytest.mark.parametrize(
    "query",
    [
        {"since": "yesterday"},
        {"since": "1700000000"},
        {"since": "2026-01-31"},
        {"since": "2026-01-31T12:00:00"},
        {"until": "0001-01-01T00:00:00+23:59"},
        {"header": "\0"},
        {"routing_key": "\0"},
        {"routing_key": "x" * 256},
        {"page_size": "0"},
        {"page_size": "201"},
        {"page_size": "many"},
        {"cursor": "nonsense"},
        {"cursor": "W10"},
        {"cursor": "\u00fc"},
        {"rooting_key": "a"},
    ],
    ids=repr,
)
def test_a_question_that_cannot_be_answered_is_refused(api: Api, query: dict[str, str]) -> None:
    refused = api.get("topics/orders/messages/", **query)

    assert (refused.status_code, refused.json()["code"]) == (400, "payload_invalid")
    assert refused.json()["errors"][0]["field"] == next(iter(query)) or "header" in query


def test_each_delivery_of_a_message_is_told_with_its_failures(api: Api) -> None:
    receipt = broker.publish("orders", 1)
    broker.ack([message.ack_id for message in broker.pull("audit")])
    broker.nack([message.ack_id for message in broker.pull("billing")])

    answer = api.get(f"messages/{receipt.message_id}/deliveries/").json()

    assert answer.keys() == {"results", "next", "previous"}
    audit, billing, shipping = answer["results"]
    assert [row["subscription"] for row in answer["results"]] == ["audit", "billing", "shipping"]
    assert (audit["state"], audit["attempts"], audit["failures"]) == ("acked", 1, [])
    assert audit["settled_at"]
    assert audit["latency"] >= 0
    assert billing["state"] in {"scheduled", "ready"}
    assert [failure["attempt"] for failure in billing["failures"]] == [1]
    assert "nacked" in billing["failures"][0]["error"]
    assert (shipping["state"], shipping["attempts"]) == ("ready", 0)


def test_the_messages_of_a_deleted_topic_are_not_there(api: Api) -> None:
    receipt = broker.publish("orders", 1)
    broker.delete_topic("orders", force=True)

    assert api.get(f"messages/{receipt.message_id}/").status_code == 404
