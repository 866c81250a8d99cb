"""CloudEvents 1.0 in the headers, with their data as the body."""

from typing import Any

import pytest

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.models import Message
from tests.api.talk import JSON, Api

pytestmark = pytest.mark.django_db

EVENT = {"ce-id": "1", "ce-source": "/shop", "ce-type": "order.paid", "ce-specversion": "1.0"}


@pytest.fixture(autouse=True)
def _orders(db: None) -> None:
    broker.create_topic(TopicConfig("orders"))
    broker.create_subscription(SubscriptionConfig("audit", "orders", transport="pull"))


def send(api: Api, body: bytes = b"1", kind: str = JSON, **headers: str) -> Any:
    return api.post("topics/orders/messages/", body, kind=kind, headers={**EVENT, **headers})


def stored() -> Message:
    return Message.objects.get()


def test_headers_are_the_attributes_and_the_body_is_the_data(api: Api) -> None:
    answer = send(api, b'{ "a": 1e999 }', **{"ce-subject": "7", "Ce-Ext": "x"})

    assert answer.status_code == 201
    assert stored().headers == {**EVENT, "ce-subject": "7", "ce-ext": "x"}
    assert (stored().routing_key, stored().content_type) == ("order.paid", JSON)
    assert bytes(stored().body) == b'{ "a": 1e999 }'
    assert send(api, b"2").status_code == 200


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("a b", "a b"),
        ("a+b", "a+b"),
        ("a%20b", "a b"),
        ("%C3%BC%F0%9F%98%80", "ü😀"),
        ("%c3%bc", "ü"),
        ("%2541", "%41"),
        ('"quoted \\"x\\" %41"', 'quoted "x" A'),
        ('"open', '"open'),
        ("ü", "ü"),
    ],
)
def test_a_value_is_percent_decoded_once(api: Api, sent: str, kept: str) -> None:
    assert send(api, **{"ce-subject": sent.encode().decode("latin-1")}).status_code == 201

    assert stored().headers["ce-subject"] == kept


@pytest.mark.parametrize(
    "value",
    ["%", "%4", "%zz", "a%", "%ff", "%C0%AF", "%ED%A0%80", "%ED%B0%80", "%F4%90%80%80", "%C3", "%00", "\xff", ""],
)
def test_a_value_that_is_no_text_is_refused(api: Api, value: str) -> None:
    refused = send(api, **{"ce-subject": value})

    assert (refused.status_code, refused.json()["code"]) == (400, "payload_invalid")


@pytest.mark.parametrize(
    "headers",
    [
        {"ce-specversion": "0.3"},
        {"ce-id": ""},
        {"ce-time": "2026-01-31T12:00:00"},
        {"ce-dataschema": "relative"},
        {"ce-data": "1"},
        {"ce-with-hyphen": "1"},
    ],
)
def test_a_header_that_cannot_be_is_refused(api: Api, headers: dict[str, str]) -> None:
    assert send(api, **headers).status_code == 400


@pytest.mark.parametrize("absent", EVENT)
def test_one_header_makes_an_event_of_it_which_then_needs_them_all(api: Api, absent: str) -> None:
    headers = {name: value for name, value in EVENT.items() if name != absent}

    refused = api.post("topics/orders/messages/", {"payload": 1}, headers=headers)

    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, absent.removeprefix("ce-"))


@pytest.mark.parametrize(
    ("kind", "body", "stored_as", "told"),
    [
        ("application/json; charset=utf-8", b"1", JSON, "application/json; charset=utf-8"),
        ("application/vnd.shop+json", b"1", JSON, "application/vnd.shop+json"),
        ("Application/JSON", b"1", JSON, None),
        ("text/xml", b"<a/>", "text/xml", None),
        ("text/plain; charset=latin-1", b"\xff", "text/plain; charset=latin-1", None),
        ("image/png", b"\x00\xff", "image/png", None),
    ],
)
def test_the_content_type_is_that_of_the_data(
    api: Api, kind: str, body: bytes, stored_as: str, told: str | None
) -> None:
    assert send(api, body, kind, **{"ce-datacontenttype": "text/never"}).status_code == 201

    assert (stored().content_type, bytes(stored().body)) == (stored_as, body)
    assert stored().headers.get("ce-datacontenttype") == told


def test_data_that_says_it_is_json_is_judged_as_such(api: Api) -> None:
    assert send(api, b"{").status_code == 400
    assert send(api, b"\xff", "application/vnd.shop+json").status_code == 400


def test_an_event_may_have_no_data(api: Api) -> None:
    assert send(api, b"").status_code == 201

    assert (stored().content_type, bytes(stored().body)) == (JSON, b"null")


def test_data_of_64_kib_is_taken_and_more_than_the_topic_takes_is_not(api: Api) -> None:
    assert send(api, b"x" * 64 * 1024, "text/plain").status_code == 201
    refused = send(api, b"x" * (1024 * 1024 + 1), "text/plain", **{"ce-id": "2"})

    assert (refused.status_code, refused.json()["code"]) == (413, "message_too_large")
