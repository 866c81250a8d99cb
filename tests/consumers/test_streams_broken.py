"""Streams that do not reach back, begin anew or end, and subscriptions that cannot begin."""

import threading
from datetime import timedelta
from typing import Any

from django.db import transaction

from datapunk_broker import broker
from datapunk_broker.models import Message, StreamEntry, StreamHead
from tests.consumers.client import Client
from tests.consumers.conftest import make_topic, payloads, publish
from tests.consumers.test_streams import positions, prune


def test_history_that_no_longer_reaches_back_is_a_reset_and_not_a_silent_part(client: Client) -> None:
    make_topic()
    publish("orders", *range(1, 8))
    prune("orders", up_to=4)

    client.subscribe("orders", **{"from": {"position": 2}})
    reset = client.hear("reset")
    assert (reset["reason"], reset["oldest"], reset["head"]) == ("pruned", 5, 7)
    assert positions(client.items(3)) == [(5, 4), (6, 5), (7, 6)]
    client.hear("caught_up")

    client.subscribe("orders", "exactly", **{"from": {"position": 4}})
    assert positions(client.items(3)) == [(5, 4), (6, 5), (7, 6)]


def test_a_history_pruned_down_to_nothing_is_a_reset_too(client: Client) -> None:
    make_topic()
    publish("orders", 1, 2)
    prune("orders", up_to=2)

    client.subscribe("orders", **{"from": {"position": 0}})

    reset = client.hear("reset")
    assert (reset["reason"], reset["oldest"], reset["head"]) == ("pruned", 3, 2)
    client.hear("caught_up")


def test_a_time_before_the_oldest_that_is_kept_is_a_reset_and_a_later_one_is_not(client: Client) -> None:
    make_topic()
    publish("orders", *range(1, 6))
    prune("orders", up_to=3)
    latest = Message.objects.order_by("-id")[0].published_at

    client.subscribe("orders", **{"from": {"time": 0}})
    reset = client.hear("reset")
    assert (reset["reason"], reset["oldest"], reset["head"]) == ("pruned", 4, 5)
    assert payloads(client.items(2)) == [4, 5]
    client.hear("caught_up")

    Message.objects.filter(pk=Message.objects.order_by("id")[3].pk).update(published_at=latest - timedelta(hours=1))
    StreamEntry.objects.filter(position=4).update(appended_at=latest - timedelta(hours=1))
    client.subscribe("orders", "later", **{"from": {"time": latest.isoformat()}})
    assert payloads(client.items(1)) == [5]


def test_a_reader_without_credit_that_prune_overtakes_is_told(client: Client) -> None:
    make_topic()
    publish("orders", 1, 2, 3)
    client.subscribe("orders", credit=1, **{"from": "earliest"})
    client.items(1)
    prune("orders", up_to=2)
    with_long_tail = ["x" * 400_000] * 5  # more than is kept in memory
    publish("orders", *with_long_tail)

    client.say("credit", sid="s", limit=100)

    assert client.hear("reset")["oldest"] == 3
    assert positions(client.items(6))[0] == (3, 2)


def test_a_position_of_another_stream_is_a_reset(client: Client) -> None:
    make_topic()
    publish("orders", 1, 2)

    client.subscribe("orders", **{"from": {"position": 99}})

    reset = client.hear("reset")
    assert (reset["reason"], reset["oldest"], reset["head"]) == ("ahead", 1, 2)
    assert payloads(client.items(2)) == [1, 2]


def test_a_topic_made_anew_begins_anew_for_whoever_reads_it(client: Client) -> None:
    make_topic()
    publish("orders", 1, 2, 3)
    client.subscribe("orders")
    client.hear("caught_up")

    entries = StreamEntry.objects.filter(topic__name="orders")
    entries.filter(position__gt=1).delete()
    StreamHead.objects.update(position=1)

    reset = client.hear("reset")
    assert (reset["reason"], reset["oldest"], reset["head"]) == ("ahead", 1, 1)
    assert payloads(client.items(1)) == [1]


def test_a_topic_of_the_same_name_is_another_stream_though_it_is_longer_already(client: Client) -> None:
    make_topic()
    publish("orders", "old")
    client.subscribe("orders")
    client.hear("caught_up")
    threading.Event().wait(1.2)  # until the server has looked at what it reads
    with transaction.atomic():
        broker.delete_topic("orders", force=True)
        make_topic()
    publish("orders", 1, 2, 3)

    frames = client.hear_until(lambda frame: frame["type"] == "reset")

    assert (frames[-1]["reason"], frames[-1]["oldest"], frames[-1]["head"]) == ("ahead", 1, 3)
    assert payloads(client.items(3)) == [1, 2, 3]


def test_a_deleted_topic_ends_its_readers_and_the_socket_stays(client: Client) -> None:
    make_topic()
    client.subscribe("orders")
    client.hear("caught_up")

    broker.delete_topic("orders", force=True)

    ended = client.hear("unsubscribed")
    assert (ended["sid"], ended["code"]) == ("s", "topic_not_found")
    client.say("ping")
    client.hear("pong")


def test_a_stream_that_is_switched_off_ends_its_readers(client: Client) -> None:
    make_topic()
    client.subscribe("orders")
    client.hear("caught_up")

    broker.update_topic("orders", {"stream": False})

    assert client.hear("unsubscribed")["code"] == "config_invalid"


REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"topic": "nowhere"}, "topic_not_found"),
    ({"topic": "not a name\0"}, "topic_not_found"),
    ({"subscription": "nowhere"}, "subscription_not_found"),
    ({"subscription": "billing\0"}, "subscription_not_found"),
    ({"topic": "unstreamed"}, "config_invalid"),
    ({"topic": "orders", "routing_key": "a\0b"}, "binding_invalid"),
    ({"topic": "orders", "headers": {"x-match": "some"}}, "binding_invalid"),
    ({"topic": "passing", "from": "earliest"}, "not_persistent"),
)


def test_an_error_about_one_subscription_leaves_the_socket_open(client: Client) -> None:
    make_topic()
    make_topic("unstreamed", stream=False)
    make_topic("passing", persistent=False)
    for wish, code in REFUSED:
        client.say("subscribe", sid=7, credit=1, **wish)
        error = client.hear("error")
        assert (error["sid"], error["code"]) == (7, code), wish
        assert error["detail"]
    client.subscribe("orders", 7)
    client.hear("caught_up")
