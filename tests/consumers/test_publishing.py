"""Publishing over a socket."""

import json
from typing import Any

import pytest

from datapunk_broker.models import Delivery, Message
from tests.consumers.client import Client
from tests.consumers.conftest import make_pull, make_topic


def test_a_publish_is_answered_with_the_messages_id_once_it_is_committed(client: Client) -> None:
    make_topic()
    make_pull()
    client.say(
        "publish",
        id="p1",
        topic="orders",
        payload={"id": 1},
        routing_key="eu.paid",
        headers={"tier": "gold"},
        priority=9,
        ordering_key="customer-7",
        idempotency_key="o-7",
        delay=60,
        ttl=3600,
        correlation_id="c",
        reply_to="answers",
    )

    published = client.hear("published")

    message = Message.objects.get()
    assert (published["id"], published["message_id"], published["duplicate"]) == ("p1", str(message.pk), False)
    assert (message.routing_key, message.headers, message.priority) == ("eu.paid", {"tier": "gold"}, 9)
    assert (message.ordering_key, message.idempotency_key) == ("customer-7", "o-7")
    assert (message.correlation_id, message.reply_to) == ("c", "answers")
    assert (message.available_at - message.published_at).total_seconds() == pytest.approx(60)
    assert message.expires_at is not None
    assert Delivery.objects.count() == 2

    client.say("publish", id=2, topic="orders", payload="other", idempotency_key="o-7")
    again = client.hear("published")
    assert (again["id"], again["message_id"], again["duplicate"]) == (2, str(message.pk), True)


def test_the_payloads_bytes_are_kept(client: Client) -> None:
    make_topic()
    written = ' { "b":1 ,\n"a" : 1.10e2, "long": 123456789012345678901234567890, "ä": "\\u00e4" } '

    client.socket.send(f'{{"type":"publish","id":1,"topic":"orders","payload":{written}}}')

    client.hear("published")
    assert bytes(Message.objects.get().body) == written.strip().encode()


REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"topic": "nowhere"}, "topic_not_found"),
    ({"payload": "x" * 2000}, "message_too_large"),
    ({"payload": "text"}, "schema_mismatch"),
    ({"payload": json.loads("[" * 501 + "]" * 501)}, "payload_invalid"),
    ({"routing_key": "a\0"}, "payload_invalid"),
    ({"headers": {"a": "\0"}}, "payload_invalid"),
    ({"priority": 10}, "payload_invalid"),
    ({"ordering_key": "x" * 300}, "payload_invalid"),
    ({"topic": "passing", "delay": 5}, "not_persistent"),
)


def test_a_refused_publish_is_an_error_with_its_id_and_the_socket_stays(client: Client) -> None:
    make_topic(max_message_size=1500, schema={"type": "object"})
    make_topic("passing", persistent=False)
    for number, (wish, code) in enumerate(REFUSED):
        client.say("publish", **{"id": number, "topic": "orders", "payload": {}, **wish})
        error = client.hear("error")
        assert (error["id"], error["code"]) == (number, code), wish
    client.say("publish", id="q", topic="orders", payload={})
    assert client.hear("published")["id"] == "q"


def test_publishes_keep_their_order(client: Client) -> None:
    make_topic()
    for n in range(200):
        client.say("publish", id=n, topic="orders", payload=n)

    assert [client.hear("published")["id"] for _ in range(200)] == [*range(200)]
    assert [json.loads(bytes(m.body)) for m in Message.objects.order_by("id")] == [*range(200)]
