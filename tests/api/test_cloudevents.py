"""CloudEvents 1.0 in the body: one event, or a batch of them."""

from typing import Any

import pytest

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.models import Message
from datapunk_broker.payload import decompress
from datapunk_broker.states import Encoding
from tests.api.talk import Api

pytestmark = pytest.mark.django_db

ONE, MANY = "application/cloudevents+json", "application/cloudevents-batch+json"
EVENT: dict[str, Any] = {"id": "1", "source": "/shop", "type": "order.paid", "specversion": "1.0"}


@pytest.fixture(autouse=True)
def _orders(db: None) -> None:
    broker.create_topic(TopicConfig("orders"))
    broker.create_subscription(SubscriptionConfig("audit", "orders", transport="pull"))


def send(api: Api, event: Any, kind: str = ONE, **headers: str) -> Any:
    return api.post("topics/orders/messages/", event, kind=kind, headers=headers)


def stored() -> Message:
    return Message.objects.get()


def body_of(message: Message) -> bytes:
    return decompress(bytes(message.body), Encoding(message.encoding), limit=10**8)


def test_an_event_is_a_message_that_its_type_routes(api: Api) -> None:
    event = {**EVENT, "subject": "7", "time": "2026-01-31T12:00:00.5+02:00", "size": 3, "vip": True, "data": {"a": 1}}

    answer = send(api, event)

    assert answer.status_code == 201
    assert answer.json().keys() == {"id", "topic", "deliveries", "duplicate"}
    message = stored()
    assert (message.routing_key, message.content_type) == ("order.paid", "application/json")
    assert message.headers == {f"ce-{name}": value for name, value in event.items() if name != "data"}
    assert body_of(message) == b'{"a":1}'


def test_source_and_id_are_the_idempotency_key(api: Api) -> None:
    first = send(api, {**EVENT, "data": 1})
    again = send(api, {**EVENT, "data": 2})
    others = [send(api, {**EVENT, "id": "2"}), send(api, {**EVENT, "source": "/other"})]

    assert (again.status_code, again.json()) == (200, {**first.json(), "duplicate": True})
    assert [other.status_code for other in others] == [201, 201]


def test_sources_and_ids_of_any_length_are_a_key(api: Api) -> None:
    long = {**EVENT, "id": "ü" * 300}

    assert [send(api, long).status_code, send(api, long).status_code] == [201, 200]
    assert send(api, {**EVENT, "id": "ü" * 299}).status_code == 201


@pytest.mark.parametrize(
    "kind",
    ["Application/CloudEvents+JSON", "application/cloudevents+json; charset=utf-8", "application/cloudevents"],
)
def test_the_content_type_decides_whatever_its_case(api: Api, kind: str) -> None:
    assert send(api, EVENT, kind).status_code == 201


def test_structured_wins_over_headers(api: Api) -> None:
    headers = {"ce-id": "header", "ce-source": "/h", "ce-type": "h", "ce-specversion": "1.0"}

    assert send(api, EVENT, ONE, **headers).status_code == 201
    assert stored().headers["ce-id"] == "1"


def test_plain_json_without_event_headers_is_no_event(api: Api) -> None:
    assert send(api, EVENT, "application/json").status_code == 400
    assert send(api, {"payload": EVENT}, "application/json").status_code == 201
    assert stored().headers == {}


@pytest.mark.parametrize(
    "kind", ["application/cloudevents+xml", "application/cloudevents-batch+avro", "application/cloudeventsx"]
)
def test_a_format_that_is_not_json_is_not_read(api: Api, kind: str) -> None:
    assert send(api, b"<event/>", kind).status_code == 415


@pytest.mark.parametrize("absent", ["id", "source", "type", "specversion"])
@pytest.mark.parametrize("value", ["absent", None, "", 1, True, [], {}])
def test_what_an_event_must_have_is_text_that_is_not_empty(api: Api, absent: str, value: Any) -> None:
    event = {name: given for name, given in EVENT.items() if name != absent}

    refused = send(api, event if value == "absent" else {**event, absent: value})

    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, absent)


BAD = [
    {"specversion": "0.3"},
    {"specversion": "1"},
    {"subject": ""},
    {"subject": 1},
    {"dataschema": "relative/path"},
    {"dataschema": "//host/path"},
    {"dataschema": ""},
    {"dataschema": "http://a b"},
    {"time": "2026-01-31"},
    {"time": "2026-01-31T12:00:00"},
    {"time": "2026-01-31 12:00:00Z"},
    {"time": "2026-W05-6T12:00:00Z"},
    {"time": "20260131T120000Z"},
    {"time": "2026-01-31T12:00Z"},
    {"time": "2026-02-30T12:00:00Z"},
    {"time": "2026-01-31T12:00:00+0200"},
    {"time": "2026-01-31T25:00:00Z"},
    {"time": "2026-01-31T12:00:00,5Z"},
    {"time": 1},
    {"datacontenttype": ""},
    {"datacontenttype": "json"},
    {"datacontenttype": "text/plain\r\nX-Evil: 1"},
    {"Capital": "x"},
    {"with-hyphen": "x"},
    {"with_underscore": "x"},
    {"ümlaut": "x"},
    {"": "x"},
    {"ext": 1.5},
    {"ext": 2**31},
    {"ext": -(2**31) - 1},
    {"ext": []},
    {"ext": {}},
    {"ext": "\0"},
    {"data": 1, "data_base64": "MQ=="},
    {"data": None, "data_base64": "MQ=="},
    {"data_base64": "not base64!"},
    {"data_base64": "MQ"},
    {"data_base64": 1},
]


@pytest.mark.parametrize("bad", BAD, ids=repr)
def test_an_attribute_that_cannot_be_is_refused_alone_and_with_its_whole_batch(api: Api, bad: dict[str, Any]) -> None:
    event = {**EVENT, **bad}

    alone, together = send(api, event), send(api, [EVENT, event], MANY)

    assert [(r.status_code, r.json()["code"]) for r in (alone, together)] == [(400, "payload_invalid")] * 2
    assert not Message.objects.exists()


GOOD = [
    {"subject": "ü 😀", "ext": ""},
    {"dataschema": "urn:example:schema"},
    {"dataschema": "https://example.com/schema#/definitions/order"},
    {"time": "2026-01-31t12:00:00.123456789z"},
    {"time": "2016-12-31T23:59:60Z"},
    {"time": "0001-01-01T00:00:00Z"},
    {"ext": 2**31 - 1, "other": -(2**31), "flag": False},
    {"ext": None, "subject": None, "time": None, "dataschema": None, "datacontenttype": None, "data_base64": None},
    {"a1": "x", "1a": "x"},
]


@pytest.mark.parametrize("good", GOOD, ids=repr)
def test_an_attribute_that_can_be_is_kept_as_it_came_and_null_is_not_set(api: Api, good: dict[str, Any]) -> None:
    assert send(api, {**EVENT, **good}).status_code == 201

    kept = {f"ce-{name}": value for name, value in {**EVENT, **good}.items() if value is not None}
    assert stored().headers == kept


def test_a_batch_is_published_in_its_order_and_may_be_empty(api: Api) -> None:
    empty = send(api, [], MANY)
    batch = send(api, [{**EVENT, "id": str(n), "data": n} for n in (1, 2, 1)], MANY)

    assert (empty.status_code, empty.json()) == (201, {"messages": []})
    assert batch.status_code == 201
    assert [receipt["duplicate"] for receipt in batch.json()["messages"]] == [False, False, True]
    assert [body_of(m) for m in Message.objects.order_by("id")] == [b"1", b"2"]


@pytest.mark.parametrize("body", [b"{}", b"1", b"", b"[1]", b"[[]]", b'[{"id":}]', b"[" * 100_000, b"\xff"])
def test_what_is_no_array_of_events_is_refused(api: Api, body: bytes) -> None:
    refused = send(api, body, MANY)

    assert 400 <= refused.status_code < 500
    assert refused.json()["code"]


def test_a_topic_that_stores_nothing_takes_events_without_knowing_them_again(api: Api) -> None:
    broker.create_topic(TopicConfig("live", persistent=False))

    sent = [api.post("topics/live/messages/", EVENT, kind=ONE) for _ in range(2)]

    assert [answer.status_code for answer in sent] == [201, 201]
