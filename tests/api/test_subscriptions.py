"""Subscriptions over HTTP."""

from typing import Any

import pytest

from datapunk_broker import broker
from datapunk_broker.conf import TopicConfig
from datapunk_broker.models import Subscription
from tests.api.talk import Api

pytestmark = pytest.mark.django_db

CONTRACT = {
    *("name", "topic", "transport", "bindings", "mode", "delivery_mode", "ack_deadline", "max_attempts"),
    *("retry_strategy", "retry_delay", "backoff_factor", "max_retry_delay", "jitter", "batch_size", "max_in_flight"),
    *("timeout", "ordering", "breaker", "endpoint_url", "state"),
}


@pytest.fixture(autouse=True)
def _topics(db: None) -> None:
    broker.create_topic(TopicConfig("orders", type="topic", delivery_mode="exactly_once"))
    broker.create_topic(TopicConfig("people", type="headers"))
    broker.create_topic(TopicConfig("alerts"))


def test_a_subscription_is_made_with_what_it_inherits_in_force(api: Api) -> None:
    made = api.post("subscriptions/", {"name": "billing", "topic": "orders"})

    assert made.status_code == 201
    row = made.json()
    assert row.keys() >= CONTRACT
    assert (row["transport"], row["state"], row["bindings"], row["breaker"]) == ("handler", "active", [], None)
    assert (row["delivery_mode"], row["ack_deadline"], row["max_attempts"]) == ("exactly_once", 30.0, 3)
    assert {"delivery_mode", "ack_deadline"} <= set(row["inherited"])
    assert Subscription.objects.get(name="billing").delivery_mode is None


def test_a_subscription_is_made_with_its_own_options(api: Api) -> None:
    given = {
        "name": "audit",
        "topic": "orders",
        "transport": "pull",
        "bindings": [{"routing_key": "eu.*"}, {"routing_key": ""}],
        "mode": "individual",
        "delivery_mode": "at_least_once",
        "ack_deadline": 60.0,
        "timeout": 5.0,
        "max_attempts": 7,
        "retry_strategy": "fixed",
        "retry_delay": 0.5,
        "backoff_factor": 1.5,
        "max_retry_delay": 9.0,
        "jitter": 0.0,
        "batch_size": 10,
        "max_in_flight": 4,
        "ordering": True,
        "breaker": {"failures": 5, "open_seconds": 30.0},
        "endpoint_url": None,
        "state": "paused",
    }

    assert given.items() <= api.post("subscriptions/", given).json().items()
    assert given.items() <= api.get("subscriptions/audit/").json().items()


def test_bindings_of_headers_keep_their_types(api: Api) -> None:
    bindings = [{"headers": {"x-match": "any", "tier": "gold", "vip": True, "n": 1, "any": None}}]

    api.post("subscriptions/", {"name": "gold", "topic": "people", "bindings": bindings})

    assert api.get("subscriptions/gold/").json()["bindings"] == bindings


def test_options_and_bindings_change_and_null_inherits_again(api: Api) -> None:
    api.post("subscriptions/", {"name": "billing", "topic": "orders", "max_attempts": 9})

    changes = {"bindings": [{"routing_key": "us.#"}], "ordering": True, "max_attempts": None, "state": "paused"}
    changed = api.patch("subscriptions/billing/", changes).json()

    assert changed == api.get("subscriptions/billing/").json()
    assert (changed["bindings"], changed["ordering"]) == ([{"routing_key": "us.#"}], True)
    assert (changed["max_attempts"], changed["state"]) == (3, "paused")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": "no spaces"}, "payload_invalid"),
        ({"name": "stream:orders"}, "payload_invalid"),
        ({"name": "taken"}, "config_invalid"),
        ({"topic": None}, "payload_invalid"),
        ({"transport": "stream"}, "payload_invalid"),
        ({"handler": "os:system"}, "payload_invalid"),
        ({"bindings": [{"routing_key": "x" * 256}]}, "payload_invalid"),
        ({"bindings": [{}]}, "binding_invalid"),
        ({"bindings": [{"routing_key": "a", "headers": {}}]}, "binding_invalid"),
        ({"bindings": [{"headers": {"a": 1}}]}, "binding_invalid"),
        ({"topic": "people", "bindings": [{"headers": {"x-match": "some"}}]}, "binding_invalid"),
        ({"topic": "people", "bindings": [{"headers": {"a": "\0"}}]}, "binding_invalid"),
        ({"topic": "alerts", "bindings": [{"routing_key": "a"}]}, "binding_invalid"),
        ({"ack_deadline": 0}, "payload_invalid"),
        ({"ack_deadline": 5, "timeout": 10}, "config_invalid"),
        ({"breaker": True}, "config_invalid"),
        ({"breaker": {"failures": 0, "open_seconds": 1}}, "payload_invalid"),
        ({"batch_size": 1001}, "payload_invalid"),
        ({"jitter": 1.1}, "payload_invalid"),
        ({"state": "disabled"}, "payload_invalid"),
        ({"endpoint_url": "https://example.com/"}, "config_invalid"),
    ],
    ids=repr,
)
def test_a_subscription_that_cannot_be_is_refused(api: Api, change: dict[str, Any], code: str) -> None:
    api.post("subscriptions/", {"name": "taken", "topic": "orders"})

    refused = api.post("subscriptions/", {"name": "billing", "topic": "orders", **change})

    assert (refused.status_code, refused.json()["code"]) == (400, code)
    assert api.get("subscriptions/billing/").status_code == 404


def test_a_subscription_to_nothing_is_told_by_its_code(api: Api) -> None:
    missing = api.post("subscriptions/", {"name": "billing", "topic": "nowhere"})

    assert (missing.status_code, missing.json()["code"]) == (404, "topic_not_found")


def test_more_subscriptions_than_a_topic_takes_are_refused(api: Api) -> None:
    api.patch("topics/orders/", {"max_subscribers": 1})
    api.post("subscriptions/", {"name": "a", "topic": "orders"})

    assert api.post("subscriptions/", {"name": "b", "topic": "orders"}).json()["code"] == "too_many_subscribers"


def test_a_change_that_fails_changes_nothing(api: Api) -> None:
    api.post("subscriptions/", {"name": "billing", "topic": "orders"})

    assert api.patch("subscriptions/billing/", {"max_attempts": 9, "topic": "people"}).status_code == 400
    assert api.get("subscriptions/billing/").json()["max_attempts"] == 3


def test_a_subscription_is_paused_and_resumed(api: Api) -> None:
    api.post("subscriptions/", {"name": "billing", "topic": "orders"})

    assert api.post("subscriptions/billing/pause/").json()["state"] == "paused"
    assert api.get("subscriptions/billing/").json()["state"] == "paused"
    assert api.post("subscriptions/billing/resume/").json()["state"] == "active"


def test_a_subscription_is_deleted(api: Api) -> None:
    api.post("subscriptions/", {"name": "billing", "topic": "orders"})

    assert api.delete("subscriptions/billing/").status_code == 204
    assert api.get("subscriptions/billing/").json()["code"] == "subscription_not_found"
    assert api.delete("subscriptions/billing/").status_code == 404


def test_subscriptions_are_listed_by_name_without_the_streams_own(api: Api) -> None:
    for name, topic in (("b", "orders"), ("a", "people")):
        api.post("subscriptions/", {"name": name, "topic": topic})

    assert [row["name"] for row in api.get("subscriptions/").json()["results"]] == ["a", "b"]
    assert [row["name"] for row in api.get("subscriptions/", topic="orders").json()["results"]] == ["b"]
    assert api.get("subscriptions/stream:orders/").status_code == 404


def test_a_subscription_seeks_a_moment_or_a_position(api: Api) -> None:
    api.post("subscriptions/", {"name": "audit", "topic": "orders", "transport": "pull"})
    for n in range(3):
        broker.publish("orders", n)

    later = api.post("subscriptions/audit/seek/", {"time": "2999-01-01T00:00:00Z"})
    earlier = api.post("subscriptions/audit/seek/", {"time": "2020-01-01T00:00:00+02:00"})

    assert (later.status_code, later.json()) == (200, {"rearmed": 0, "recreated": 0, "settled": 3})
    assert earlier.json() == {"rearmed": 3, "recreated": 0, "settled": 0}
    assert api.post("subscriptions/audit/seek/", {"position": 0}).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"time": "2020-01-01T00:00:00"},
        {"time": 1},
        {"time": "yesterday"},
        {"position": -1},
        {"position": 2**63},
        {"position": True},
        {"time": "2020-01-01T00:00:00Z", "position": 1},
    ],
    ids=repr,
)
def test_a_seek_to_nowhere_is_refused(api: Api, body: dict[str, Any]) -> None:
    api.post("subscriptions/", {"name": "audit", "topic": "orders", "transport": "pull"})

    assert api.post("subscriptions/audit/seek/", body).status_code == 400


@pytest.mark.parametrize(
    ("moment", "status"),
    [
        ("0001-01-01T00:00:00+23:59", 400),
        ("9999-12-31T23:59:59-23:59", 400),
        ("0001-01-01T00:00:00Z", 200),
        ("9999-12-31T23:59:59.999999Z", 200),
    ],
)
def test_a_seek_goes_to_the_edge_of_the_calendar_and_not_over_it(api: Api, moment: str, status: int) -> None:
    api.post("subscriptions/", {"name": "audit", "topic": "orders", "transport": "pull"})

    assert api.post("subscriptions/audit/seek/", {"time": moment}).status_code == status


def test_a_secret_is_told_to_who_made_it_alone(api: Api) -> None:
    hook = {"name": "hook", "topic": "alerts", "transport": "webhook", "endpoint_url": "https://93.184.216.34/"}
    made = api.post("subscriptions/", hook).json()["secret"]
    assert made == Subscription.objects.get(name="hook").secret
    assert "secret" not in api.patch("subscriptions/hook/", {"secret": "whsec_" + "QUJD" * 8}).json()
    assert "secret" not in api.patch("subscriptions/hook/", {"transport": "webhook", "max_attempts": 2}).json()
    again = api.patch("subscriptions/hook/", {"secret": None}).json()["secret"]
    assert again == Subscription.objects.get(name="hook").secret != made
