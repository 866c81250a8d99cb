"""Topics over HTTP."""

from typing import Any

import pytest

from datapunk_broker import broker
from datapunk_broker.models import Topic
from tests.api.talk import Api

pytestmark = pytest.mark.django_db

CONTRACT = {
    *("name", "type", "delivery_mode", "persistent", "max_message_size", "max_queue_size", "overflow"),
    *("max_subscribers", "retention_hours", "compression_threshold", "schema", "stream", "dead_letter_topic"),
}


def test_a_topic_is_made_with_the_settings_defaults_in_force(api: Api) -> None:
    made = api.post("topics/", {"name": "orders"})

    assert made.status_code == 201
    topic = made.json()
    assert topic.keys() >= CONTRACT
    assert (topic["name"], topic["type"], topic["delivery_mode"]) == ("orders", "fanout", "at_least_once")
    assert (topic["max_message_size"], topic["persistent"], topic["stream"]) == (1048576, True, True)
    assert {"delivery_mode", "max_message_size"} <= set(topic["inherited"])
    assert Topic.objects.get(name="orders").delivery_mode is None


def test_a_topic_is_made_with_its_own_options(api: Api) -> None:
    given = {
        "name": "orders",
        "type": "topic",
        "delivery_mode": "exactly_once",
        "max_message_size": 4096,
        "max_queue_size": 7,
        "overflow": "drop_oldest",
        "max_subscribers": 3,
        "retention_hours": 0.5,
        "compression_threshold": 0,
        "schema": {"type": "object"},
        "stream": False,
        "dead_letter_topic": "graveyard",
        "history": False,
    }

    assert given.items() <= api.post("topics/", given).json().items()
    assert given.items() <= api.get("topics/orders/").json().items()


def test_options_change_and_null_inherits_again(api: Api) -> None:
    api.post("topics/", {"name": "orders", "retention_hours": 1})

    assert api.patch("topics/orders/", {"max_queue_size": 5}).json()["max_queue_size"] == 5
    inherited = api.patch("topics/orders/", {"retention_hours": None}).json()

    assert (inherited["retention_hours"], inherited["max_queue_size"]) == (24.0, 5)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"name": "no spaces"}, "name"),
        ({"name": "orders\n"}, "name"),
        ({"name": "x", "type": "ring"}, "type"),
        ({"name": "x", "colour": 1}, "body"),
        ({"name": "x", "max_message_size": "1"}, "max_message_size"),
        ({"name": "x", "max_message_size": 0}, "max_message_size"),
        ({"name": "x", "max_queue_size": 2**31}, "max_queue_size"),
        ({"name": "x", "persistent": 1}, "persistent"),
        ({"name": "x", "stream": None}, "stream"),
        ({"name": "x", "retention_hours": -1}, "retention_hours"),
        ({"name": "x", "schema": {"type": 7}}, "schema"),
        ({"name": "x", "dead_letter_topic": "x"}, "dead_letter_topic"),
        ({"name": "taken"}, "name"),
        ([], "body"),
    ],
)
def test_a_topic_that_cannot_be_is_refused_by_the_name_of_its_option(api: Api, body: Any, field: str) -> None:
    api.post("topics/", {"name": "taken"})

    refused = api.post("topics/", body)

    assert refused.status_code == 400
    assert [misfit["field"] for misfit in refused.json()["errors"]] == [field]
    assert refused.json()["code"] in {"config_invalid", "payload_invalid"}


def test_a_topic_keeps_its_name(api: Api) -> None:
    api.post("topics/", {"name": "orders"})

    assert api.patch("topics/orders/", {"name": "orders", "history": False}).status_code == 200
    assert api.patch("topics/orders/", {"name": "others"}).json()["code"] == "config_invalid"


def test_a_topic_is_deleted_by_force_while_messages_are_pending(api: Api) -> None:
    api.post("topics/", {"name": "orders"})
    api.post("subscriptions/", {"name": "audit", "topic": "orders", "transport": "pull"})
    broker.publish("orders", 1)

    busy = api.delete("topics/orders/")

    assert (busy.status_code, busy.json()["code"]) == (409, "topic_busy")
    assert api.delete("topics/orders/?force=perhaps").status_code == 400
    assert api.delete("topics/orders/?forse=true").status_code == 400
    assert api.delete("topics/orders/?force=true").status_code == 204
    assert api.get("topics/orders/").json()["code"] == "topic_not_found"
    assert api.get("subscriptions/audit/").json()["code"] == "subscription_not_found"


def test_topics_are_listed_by_name(api: Api) -> None:
    for name in ("b", "a", "c"):
        api.post("topics/", {"name": name})
    api.delete("topics/c/")

    listed = api.get("topics/").json()

    assert [topic["name"] for topic in listed["results"]] == ["a", "b"]
    assert (listed["next"], listed["previous"]) == (None, None)
