"""Publish over HTTP."""

from datetime import timedelta
from typing import Any

import pytest

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.models import Message, Subscription, Topic
from datapunk_broker.payload import decompress
from datapunk_broker.states import Encoding
from tests.api.talk import Api

pytestmark = pytest.mark.django_db

MEGABYTE = 1024 * 1024


@pytest.fixture(autouse=True)
def _orders(db: None) -> None:
    broker.create_topic(TopicConfig("orders"))
    broker.create_subscription(SubscriptionConfig("audit", "orders", transport="pull"))


def body_of(message: Message) -> bytes:
    return decompress(bytes(message.body), Encoding(message.encoding), limit=100 * MEGABYTE)


def test_a_message_is_published_with_all_that_it_says(api: Api) -> None:
    given = {
        "payload": {"id": 7},
        "routing_key": "eu.paid",
        "headers": {"tier": "gold", "count": 1},
        "priority": 9,
        "ordering_key": "customer-7",
        "delay": 0.5,
        "ttl": 60,
        "correlation_id": "c-1",
        "reply_to": "answers",
    }

    answer = api.post("topics/orders/messages/", given)

    assert answer.status_code == 201
    assert answer.json().keys() == {"id", "topic", "deliveries", "duplicate"}
    assert (answer.json()["topic"], answer.json()["deliveries"], answer.json()["duplicate"]) == ("orders", 1, False)
    message = Message.objects.get(pk=answer.json()["id"])
    for name in ("routing_key", "headers", "priority", "ordering_key", "correlation_id", "reply_to"):
        assert getattr(message, name) == given[name]
    assert message.available_at - message.published_at == timedelta(seconds=0.5)
    assert message.expires_at


def test_the_same_idempotency_key_is_the_first_message_again(api: Api) -> None:
    first = api.post("topics/orders/messages/", {"payload": 1}, headers={"Idempotency-Key": "o-7"})
    again = api.post("topics/orders/messages/", {"payload": 2}, headers={"Idempotency-Key": "o-7"})

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == {**first.json(), "duplicate": True}
    assert Message.objects.get().idempotency_key == "o-7"


def test_an_idempotency_key_may_stand_in_the_body_but_not_contradict_the_header(api: Api) -> None:
    api.post("topics/orders/messages/", {"payload": 1, "idempotency_key": "k"})
    same = api.post("topics/orders/messages/", {"payload": 1, "idempotency_key": "k"}, headers={"Idempotency-Key": "k"})
    other = api.post(
        "topics/orders/messages/", {"payload": 1, "idempotency_key": "k"}, headers={"Idempotency-Key": "l"}
    )

    assert same.status_code == 200
    assert (other.status_code, other.json()["errors"][0]["field"]) == (400, "idempotency_key")


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"routing_key": "x" * 256}, "routing_key"),
        ({"routing_key": "\0"}, "routing_key"),
        ({"routing_key": None}, "routing_key"),
        ({"headers": []}, "headers"),
        ({"headers": {"a": "\0"}}, "headers"),
        ({"priority": 10}, "priority"),
        ({"priority": "1"}, "priority"),
        ({"priority": True}, "priority"),
        ({"delay": -1}, "delay"),
        ({"delay": 1e300}, "delay"),
        ({"ttl": "soon"}, "ttl"),
        ({"ordering_key": ""}, "ordering_key"),
        ({"reply_to": "x" * 201}, "reply_to"),
        ({"rooting_key": "x"}, "body"),
    ],
)
def test_an_option_that_cannot_be_is_refused_by_name(api: Api, more: dict[str, Any], field: str) -> None:
    refused = api.post("topics/orders/messages/", {"payload": 1, **more})

    assert (refused.status_code, refused.json()["code"]) == (400, "payload_invalid")
    assert refused.json()["errors"][0]["field"] == field
    assert not Message.objects.exists()


def test_a_message_without_a_payload_is_refused_but_null_is_one(api: Api) -> None:
    assert api.post("topics/orders/messages/", {}).status_code == 400
    assert api.post("topics/orders/messages/", {"payload": None}).status_code == 201
    assert body_of(Message.objects.get()) == b"null"


def test_a_payload_that_does_not_fit_the_schema_is_told_where(api: Api) -> None:
    broker.create_topic(TopicConfig("strict", schema={"properties": {"id": {"type": "integer"}}}))

    refused = api.post("topics/strict/messages/", {"payload": {"id": "x"}})

    assert (refused.status_code, refused.json()["code"]) == (422, "schema_mismatch")
    assert refused.json()["errors"][0]["field"] == "payload/id"


def test_a_payload_of_a_megabyte_is_taken_and_one_more_byte_is_not(api: Api) -> None:
    largest = b'"' + b"x" * (MEGABYTE - 2) + b'"'

    taken = api.post("topics/orders/messages/", b'{"payload":%s}' % largest)
    refused = api.post("topics/orders/messages/", b'{"payload":"x%s}' % largest[1:])

    assert taken.status_code == 201
    assert body_of(Message.objects.get()) == largest
    assert (refused.status_code, refused.json()["code"]) == (413, "message_too_large")


def test_a_topic_that_takes_more_gets_more_than_django_would_read(api: Api) -> None:
    broker.create_topic(TopicConfig("films", max_message_size=10 * MEGABYTE))

    assert api.post("topics/films/messages/", {"payload": "x" * (8 * MEGABYTE)}).status_code == 201


def test_a_full_queue_says_when_to_come_again(api: Api) -> None:
    Topic.objects.update(max_queue_size=1)
    Subscription.objects.filter(name="audit").update(over_limit=True)

    refused = api.post("topics/orders/messages/", {"payload": 1})

    assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
    assert int(refused.headers["Retry-After"]) >= 1


def test_a_topic_that_is_not_there_is_told_by_its_code(api: Api) -> None:
    missing = api.post("topics/nowhere/messages/", {"payload": 1})

    assert (missing.status_code, missing.json()["code"]) == (404, "topic_not_found")


def test_a_topic_that_stores_nothing_refuses_what_needs_storage(api: Api) -> None:
    broker.create_topic(TopicConfig("live", persistent=False))

    assert api.post("topics/live/messages/", {"payload": 1}).status_code == 201
    assert api.post("topics/live/messages/", {"payload": 1, "delay": 1}).json()["code"] == "not_persistent"


def test_a_batch_is_published_in_its_order(api: Api) -> None:
    messages = [{"payload": n, "idempotency_key": f"k-{n % 3}"} for n in range(4)]

    answer = api.post("topics/orders/messages/batch/", {"messages": messages})

    assert answer.status_code == 201
    receipts = answer.json()["messages"]
    assert [receipt["duplicate"] for receipt in receipts] == [False, False, False, True]
    assert receipts[3]["id"] == receipts[0]["id"]
    assert [body_of(m) for m in Message.objects.order_by("id")] == [b"0", b"1", b"2"]


def test_an_empty_batch_is_one(api: Api) -> None:
    answer = api.post("topics/orders/messages/batch/", {"messages": []})

    assert (answer.status_code, answer.json()) == (201, {"messages": []})


def test_one_bad_message_undoes_the_batch_and_is_named(api: Api) -> None:
    refused = api.post("topics/orders/messages/batch/", {"messages": [{"payload": 1}, {"payload": 2, "priority": 10}]})

    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "messages[1].priority")
    assert not Message.objects.exists()


@pytest.mark.parametrize(("count", "status"), [(1000, 201), (1001, 400)])
def test_a_batch_has_a_thousand_messages_at_most(api: Api, count: int, status: int) -> None:
    answer = api.post("topics/orders/messages/batch/", {"messages": [{"payload": n} for n in range(count)]})

    assert answer.status_code == status
    assert Message.objects.count() == (count if status == 201 else 0)


@pytest.mark.parametrize(("size", "status"), [(16 * MEGABYTE, 201), (16 * MEGABYTE + 1, 413)])
def test_a_batch_has_sixteen_megabytes_at_most(api: Api, size: int, status: int) -> None:
    message = b'{"payload":"' + b"x" * (MEGABYTE - 64) + b'"}'
    body = b'{"messages":[' + b",".join([message] * 15) + b"]}"

    answer = api.post("topics/orders/messages/batch/", body.ljust(size))

    assert answer.status_code == status


def test_an_idempotency_key_for_a_whole_batch_is_refused(api: Api) -> None:
    refused = api.post("topics/orders/messages/batch/", {"messages": []}, headers={"Idempotency-Key": "k"})

    assert refused.status_code == 400
