"""The data of CloudEvents 1.0, byte for byte."""

import base64
from typing import Any

import pytest

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.models import Message
from datapunk_broker.payload import decompress
from datapunk_broker.states import Encoding
from tests.api.talk import Api

pytestmark = pytest.mark.django_db

ONE = "application/cloudevents+json"
EVENT: dict[str, Any] = {"id": "1", "source": "/shop", "type": "order.paid", "specversion": "1.0"}


@pytest.fixture(autouse=True)
def _orders(db: None) -> None:
    broker.create_topic(TopicConfig("orders"))
    broker.create_subscription(SubscriptionConfig("audit", "orders", transport="pull"))


def send(api: Api, event: Any, kind: str = ONE) -> Any:
    return api.post("topics/orders/messages/", event, kind=kind)


def stored() -> Message:
    return Message.objects.get()


def body_of(message: Message) -> bytes:
    return decompress(bytes(message.body), Encoding(message.encoding), limit=10**8)


@pytest.mark.parametrize(
    ("given", "body", "content_type"),
    [
        ({}, b"null", "application/json"),
        ({"data": None}, b"null", "application/json"),
        ({"data": '{"a": 1}'}, b'"{\\"a\\": 1}"', "application/json"),
        ({"data": "x", "datacontenttype": "application/json"}, b'"x"', "application/json"),
        ({"data": {"a": 1}, "datacontenttype": "application/vnd.shop+json"}, b'{"a":1}', "application/json"),
        ({"data": "<a/>", "datacontenttype": "text/xml"}, b"<a/>", "text/xml"),
        ({"data": {"a": 1}, "datacontenttype": "text/xml"}, b'{"a":1}', "text/xml"),
        ({"datacontenttype": "text/xml"}, b"", "text/xml"),
        ({"data_base64": "eyJhIjoxfQ==", "datacontenttype": "application/json"}, b'{"a":1}', "application/json"),
        ({"data_base64": "AP8="}, b"\x00\xff", "application/octet-stream"),
        ({"data_base64": "AP8=", "datacontenttype": "image/png"}, b"\x00\xff", "image/png"),
    ],
    ids=repr,
)
def test_data_is_the_payload_and_its_type_says_what_it_is(
    api: Api, given: dict[str, Any], body: bytes, content_type: str
) -> None:
    assert send(api, {**EVENT, **given}).status_code == 201

    assert (body_of(stored()), stored().content_type) == (body, content_type)
    [pulled] = api.post("subscriptions/audit/pull/", {}).json()["messages"]
    [listed] = api.get("topics/orders/messages/").json()["results"]
    for shown in (pulled, listed):
        if content_type == "application/json":
            assert "payload_base64" not in shown
            assert "content_type" not in shown
        elif b"\xff" in body:
            assert (base64.b64decode(shown["payload_base64"]), shown["content_type"]) == (body, content_type)
            assert "payload" not in shown
        else:
            assert (shown["payload"], shown["content_type"]) == (body.decode(), content_type)


def test_data_is_kept_byte_for_byte(api: Api) -> None:
    data = b'{ "n": 1e999, "s": "\\ud800",  "d": ' + b"9" * 30 + b" }"

    sent = send(api, b'{"id":"1", "data": %s ,"source":"/s","type":"t","specversion":"1.0"}' % data)

    assert sent.status_code == 201
    assert body_of(stored()) == data


def test_data_that_says_it_is_json_and_is_not_is_refused(api: Api) -> None:
    assert send(api, {**EVENT, "data_base64": "AP8=", "datacontenttype": "application/json"}).status_code == 400


@pytest.mark.parametrize("size", [64 * 1024, 900 * 1024])
def test_an_event_of_64_kib_and_more_is_taken(api: Api, size: int) -> None:
    assert send(api, {**EVENT, "data": "x" * size}).status_code == 201
