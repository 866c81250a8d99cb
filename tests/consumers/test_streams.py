"""Reading a topic's stream over a WebSocket."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from datapunk_broker import broker
from datapunk_broker.models import Message, StreamEntry, StreamHead, Topic
from tests.consumers.client import Client, connected
from tests.consumers.conftest import Site, make_topic, payloads, publish


def positions(items: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return [(item["position"], item["previous"]) for item in items]


def prune(topic: str, *, up_to: int) -> None:
    StreamEntry.objects.filter(topic__name=topic, position__lte=up_to).delete()


def test_what_is_published_after_a_subscribe_comes_in_the_order_of_the_stream(client: Client) -> None:
    make_topic()
    publish("orders", {"id": 1}, {"id": 2})

    subscribed = client.subscribe("orders")
    assert (subscribed["oldest"], subscribed["head"]) == (1, 2)
    client.hear("caught_up")
    publish("orders", {"id": 3}, {"id": 4}, routing_key="eu.paid", headers={"tier": "gold"}, correlation_id="c")

    items = client.items(2)
    assert payloads(items) == [{"id": 3}, {"id": 4}]
    assert positions(items) == [(3, 2), (4, 3)]
    for item, message in zip(items, Message.objects.order_by("id")[2:], strict=True):
        assert (item["topic"], item["routing_key"], item["headers"]) == ("orders", "eu.paid", {"tier": "gold"})
        assert (item["id"], item["correlation_id"]) == (str(message.pk), "c")
        assert item["published_at"].startswith(message.published_at.strftime("%Y-%m-%dT%H:%M:%S"))


def test_from_earliest_begins_with_the_oldest_that_is_kept(client: Client) -> None:
    make_topic()
    publish("orders", *range(1, 8))
    prune("orders", up_to=3)

    subscribed = client.subscribe("orders", **{"from": "earliest"})

    assert (subscribed["oldest"], subscribed["head"]) == (4, 7)
    items = client.items(4)
    assert payloads(items) == [4, 5, 6, 7]
    assert items[0]["previous"] == 3
    client.hear("caught_up")


def test_from_a_position_begins_after_what_was_last_seen(client: Client) -> None:
    make_topic()
    publish("orders", *range(1, 6))

    client.subscribe("orders", **{"from": {"position": 3}})

    assert positions(client.items(2)) == [(4, 3), (5, 4)]


def test_from_a_time_begins_with_what_was_published_then_though_an_older_one_was_appended_later(
    client: Client,
) -> None:
    make_topic()
    publish("orders", "long ago", "before")
    publish("orders", "then", "late", "after")
    long_ago, _, then, late, _ = Message.objects.order_by("id")
    earlier = then.published_at - timedelta(hours=1)
    Message.objects.filter(pk__in=[long_ago.pk, late.pk]).update(published_at=earlier)

    client.subscribe("orders", **{"from": {"time": then.published_at.isoformat()}})
    assert payloads(client.items(3)) == ["then", "late", "after"]
    client.hear("caught_up")
    client.subscribe("orders", "seconds", **{"from": {"time": then.published_at.timestamp() + 3600}})
    client.hear("caught_up")
    publish("orders", "later")
    assert payloads(client.items(2)) == ["later", "later"]


def test_an_empty_stream_is_caught_up_at_once(client: Client) -> None:
    make_topic()

    subscribed = client.subscribe("orders", **{"from": "earliest"})

    assert (subscribed["oldest"], subscribed["head"]) == (1, 0)
    client.hear("caught_up")


@pytest.mark.parametrize(
    ("kind", "wish", "wanted"),
    [
        ("topic", {"routing_key": "eu.*"}, [2, 4]),
        ("direct", {"routing_key": "eu.paid"}, [2]),
        ("headers", {"headers": {"x-match": "any", "tier": "gold", "vip": True}}, [1, 2]),
        ("fanout", {"routing_key": "#.sent", "headers": {"tier": "gold"}}, [1]),
    ],
)
def test_a_filter_passes_over_messages_and_previous_shows_that_none_is_missing(
    client: Client, kind: str, wish: dict[str, Any], wanted: list[int]
) -> None:
    make_topic(type=kind)
    for key, tier in (("us.sent", "gold"), ("eu.paid", "gold"), ("us.paid", "tin"), ("eu.sent", "tin")):
        publish("orders", key, routing_key=key, headers={"tier": tier})

    client.subscribe("orders", **{"from": "earliest"}, **wish)

    assert positions(client.items(len(wanted))) == list(zip(wanted, [0, *wanted], strict=False))
    client.hear("caught_up")


def test_credit_is_absolute_and_a_smaller_one_takes_nothing_back(client: Client) -> None:
    make_topic()
    publish("orders", *range(1, 11))
    client.subscribe("orders", credit=2, **{"from": "earliest"})

    assert payloads(client.items(2)) == [1, 2]
    client.silence()
    client.say("credit", sid="s", limit=1)
    client.say("credit", sid="s", limit=5)
    client.say("credit", sid="s", limit=4)
    assert payloads(client.items(3)) == [3, 4, 5]
    client.silence()
    client.say("credit", sid="s", limit=10)
    assert payloads(client.items(5)) == [6, 7, 8, 9, 10]


def test_credit_beyond_the_limit_is_clamped(site: Site, token: str) -> None:
    make_topic()
    publish("orders", *range(1, 71))
    with connected(site.impatient, token) as client:
        client.subscribe("orders", credit=10**15, **{"from": "earliest"})
        assert payloads(client.items(50)) == [*range(1, 51)]
        client.silence()
        client.say("credit", sid="s", limit=10**15)
        assert payloads(client.items(20)) == [*range(51, 71)]


def test_a_sid_names_one_subscription_at_a_time(client: Client) -> None:
    make_topic()
    client.subscribe("orders", "a")
    client.hear("caught_up")

    client.say("subscribe", sid="a", topic="orders", credit=1)
    assert client.hear("error")["code"] == "sid_taken"
    client.say("unsubscribe", sid="a")
    ended = client.hear("unsubscribed")
    assert (ended["sid"], ended["code"]) == ("a", "requested")
    unknown: dict[str, Any] = {"unsubscribe": {}, "credit": {"limit": 1}, "ack": {"ack_ids": []}}
    for kind, members in unknown.items():
        client.say(kind, sid="a", **members)
        assert client.hear("error")["code"] == "sid_unknown"
    publish("orders", 1)
    client.silence()
    client.subscribe("orders", "a", **{"from": "earliest"})
    assert payloads(client.items(1)) == [1]


def test_two_subscriptions_of_one_socket_have_places_of_their_own(client: Client) -> None:
    make_topic()
    make_topic("returns")
    publish("orders", 1, 2)
    client.subscribe("orders", 1, **{"from": "earliest"})
    frames = client.hear_until(lambda frame: frame["type"] == "caught_up")
    client.subscribe("returns", "1")
    client.hear("caught_up")
    publish("returns", "back")

    assert [len(frame["items"]) for frame in frames if frame["type"] == "messages"] == [2]
    frame = client.hear("messages")
    assert (frame["sid"], payloads(frame["items"])) == ("1", ["back"])


def test_bodies_come_as_they_were_published_be_they_json_text_or_bytes(client: Client) -> None:
    make_topic()
    broker.publish("orders", b"plain text", content_type="text/plain")
    broker.publish("orders", b"\xff\x00", content_type="application/octet-stream")
    publish("orders", {"big": 10**30, "text": "äöü\n", "half": "😀"})

    client.subscribe("orders", **{"from": "earliest"})

    text, data, whole = client.items(3)
    assert (text["payload"], text["content_type"]) == ("plain text", "text/plain")
    assert (data["payload_base64"], data["content_type"]) == ("/wA=", "application/octet-stream")
    assert whole["payload"] == {"big": 10**30, "text": "äöü\n", "half": "😀"}


def test_without_hints_a_stream_is_looked_at_every_second(client: Client) -> None:
    topic: Topic = make_topic()
    publish("orders", 1)
    client.subscribe("orders")
    client.hear("caught_up")

    # Another position for the same message, and nobody told.
    entry = StreamEntry.objects.get()
    StreamEntry.objects.create(topic=topic, position=2, message_id=entry.message_id, appended_at=entry.appended_at)
    StreamHead.objects.update(position=F("position") + 1)

    assert positions(client.items(1)) == [(2, 1)]


def test_a_long_history_comes_whole_and_in_order(client: Client) -> None:
    make_topic()
    publish("orders", *({"n": n, "filling": "x" * 1000} for n in range(1, 1201)))
    publish("orders", "a" * 900_000, "b" * 900_000)

    client.subscribe("orders", credit=5000, **{"from": "earliest"})

    items = client.items(1202)
    assert positions(items) == [(n, n - 1) for n in range(1, 1203)]
    assert [len(item["payload"]) for item in items[-2:]] == [900_000, 900_000]
