"""Pull, and settle what was pulled."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.models import DeadLetter, Delivery
from tests.api.talk import Api

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _orders(db: None) -> None:
    broker.create_topic(TopicConfig("orders"))
    for name in ("audit", "billing"):
        broker.create_subscription(SubscriptionConfig(name, "orders", transport="pull", max_attempts=2))


def pull(api: Api, name: str = "audit", **body: Any) -> list[dict[str, Any]]:
    answer = api.post(f"subscriptions/{name}/pull/", body)
    assert answer.status_code == 200
    messages: list[dict[str, Any]] = answer.json()["messages"]
    return messages


def test_a_message_is_pulled_with_all_that_was_said_of_it(api: Api) -> None:
    broker.publish(
        "orders",
        {"id": 7},
        routing_key="eu",
        headers={"a": 1},
        priority=3,
        ordering_key="c",
        correlation_id="x",
        reply_to="y",
    )

    [message] = pull(api)

    assert message.keys() >= {"ack_id", "id", "published_at"}
    del message["ack_id"], message["id"], message["published_at"]
    assert message == {
        "attempt": 1,
        "topic": "orders",
        "payload": {"id": 7},
        "routing_key": "eu",
        "headers": {"a": 1},
        "priority": 3,
        "ordering_key": "c",
        "correlation_id": "x",
        "reply_to": "y",
    }


def test_as_many_are_pulled_as_asked_for_and_none_twice(api: Api) -> None:
    broker.publish_many("orders", [broker.Outgoing(n) for n in range(5)])

    assert [m["payload"] for m in pull(api, max_messages=2)] == [0, 1]
    assert [m["payload"] for m in pull(api)] == [2, 3, 4]
    assert pull(api) == []


@pytest.mark.parametrize(
    "body",
    [
        {"max_messages": 0},
        {"max_messages": 1001},
        {"max_messages": "1"},
        {"wait_seconds": 20.5},
        {"wait_seconds": -1},
        [],
    ],
    ids=repr,
)
def test_a_pull_that_asks_for_too_much_is_refused(api: Api, body: Any) -> None:
    assert api.post("subscriptions/audit/pull/", body).status_code == 400


def test_what_is_not_there_to_pull_from_is_told_by_its_code(api: Api) -> None:
    broker.create_subscription(SubscriptionConfig("handled", "orders"))

    assert api.post("subscriptions/nowhere/pull/", {}).json()["code"] == "subscription_not_found"
    assert api.post("subscriptions/handled/pull/", {}).json()["code"] == "config_invalid"
    assert api.get("subscriptions/audit/pull/").status_code == 405
    assert Api().post("subscriptions/audit/pull/", {}).status_code == 401


def test_acked_messages_are_gone_and_the_rest_is_told_to_be_lost(api: Api) -> None:
    broker.publish_many("orders", [broker.Outgoing(n) for n in range(2)])
    first, second = (message["ack_id"] for message in pull(api))
    [other] = pull(api, "billing", max_messages=1)

    odd = ["", "nonsense", "1-2", "\u00fc", other["ack_id"]]
    answer = api.post("subscriptions/audit/ack/", {"ack_ids": [first, *odd]})

    assert (answer.status_code, answer.json()) == (200, {"settled": [first], "lost": odd})
    assert api.post("subscriptions/audit/ack/", {"ack_ids": [first, second]}).json() == {
        "settled": [second],
        "lost": [first],
    }
    assert Delivery.objects.filter(subscription__name="audit").count() == 0
    assert Delivery.objects.filter(subscription__name="billing").count() == 2


def test_a_nacked_message_comes_again_after_its_delay(api: Api) -> None:
    broker.publish("orders", 1)
    [message] = pull(api)

    answer = api.post("subscriptions/audit/nack/", {"ack_ids": [message["ack_id"]], "delay": 3600})

    assert answer.json()["settled"] == [message["ack_id"]]
    delivery = Delivery.objects.get(subscription__name="audit")
    assert delivery.available_at > timezone.now() + timedelta(minutes=59)
    assert pull(api) == []


def test_a_rejected_message_is_a_dead_letter_with_its_reason(api: Api) -> None:
    broker.publish("orders", 1)
    [message] = pull(api)

    api.post("subscriptions/audit/reject/", {"ack_ids": [message["ack_id"]], "reason": "no such customer"})

    letter = DeadLetter.objects.get()
    assert (letter.reason, letter.error_message) == ("rejected", "no such customer")


def test_an_extended_message_is_kept_for_longer(api: Api) -> None:
    broker.publish("orders", 1)
    [message] = pull(api)

    answer = api.post("subscriptions/audit/extend/", {"ack_ids": [message["ack_id"]], "by": 3600})

    assert answer.json() == {"settled": [message["ack_id"]], "lost": []}
    lease = Delivery.objects.get(subscription__name="audit").lease_until
    assert lease
    assert lease > timezone.now() + timedelta(minutes=59)


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("ack", {}),
        ("ack", {"ack_ids": "x"}),
        ("ack", {"ack_ids": [1]}),
        ("ack", {"ack_ids": ["x" * 201]}),
        ("ack", {"ack_ids": ["x"] * 1001}),
        ("ack", {"ack_ids": [], "delay": 1}),
        ("nack", {"ack_ids": [], "delay": -1}),
        ("nack", {"ack_ids": [], "delay": 1e300}),
        ("reject", {"ack_ids": [], "reason": "\0"}),
        ("reject", {"ack_ids": [], "reason": 1}),
        ("extend", {"ack_ids": []}),
        ("extend", {"ack_ids": [], "by": 0}),
        ("extend", {"ack_ids": [], "by": 1e9}),
    ],
    ids=repr,
)
def test_a_settlement_that_cannot_be_is_refused(api: Api, verb: str, body: dict[str, Any]) -> None:
    refused = api.post(f"subscriptions/audit/{verb}/", body)

    assert refused.status_code == 400
    assert refused.json()["code"] in {"payload_invalid", "config_invalid"}


def test_no_ack_ids_are_no_error(api: Api) -> None:
    assert api.post("subscriptions/audit/ack/", {"ack_ids": []}).json() == {"settled": [], "lost": []}
