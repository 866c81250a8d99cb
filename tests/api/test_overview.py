"""Explain, stats and audit over HTTP."""

from typing import Any

import pytest

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from tests.api.talk import Api

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _orders(db: None) -> None:
    broker.create_topic(TopicConfig("orders", type="topic"))
    for name, pattern in (("europe", "eu.*"), ("all", "#")):
        config = SubscriptionConfig(name, "orders", transport="pull", bindings=[{"routing_key": pattern}])
        broker.create_subscription(config)


def test_it_is_explained_who_would_get_a_message_and_why(api: Api) -> None:
    answer = api.post("explain/", {"topic": "orders", "routing_key": "us.paid", "headers": {"a": 1}})

    assert answer.status_code == 200
    told = answer.json()
    assert told.keys() == {"matches", "subscriptions"}
    assert told["matches"] == ["all"]
    assert [(one["name"], one["matches"]) for one in told["subscriptions"]] == [("all", True), ("europe", False)]
    assert all(one["because"] for one in told["subscriptions"])
    assert api.post("explain/", {"topic": "orders"}).json()["matches"] == ["all"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"topic": "nowhere"}, 404),
        ({"topic": "orders", "routing_key": 1}, 400),
        ({"topic": "orders", "routing_key": "x" * 256}, 400),
        ({"topic": "orders", "headers": {"a": "\0"}}, 400),
        ({"topic": "orders", "headers": {str(n): n for n in range(101)}}, 400),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_question_that_is_none_is_refused(api: Api, body: dict[str, Any], status: int) -> None:
    assert api.post("explain/", body).status_code == status


def test_it_is_counted_what_there_is(api: Api) -> None:
    broker.publish("orders", 1, routing_key="eu.paid")
    broker.ack([message.ack_id for message in broker.pull("all")])
    broker.reject([message.ack_id for message in broker.pull("europe")])

    stats = api.get("stats/").json()

    assert stats.keys() == {"topics", "subscriptions", "dead_letters"}
    assert [(topic["name"], topic["messages"]) for topic in stats["topics"]] == [("orders", 1)]
    everyone, europe = stats["subscriptions"]
    assert (everyone["name"], everyone["settled"]["acked"]) == ("all", 1)
    assert (europe["dead_letters"], stats["dead_letters"]) == ({"rejected": 1}, {"rejected": 1})


def test_the_books_balance(api: Api) -> None:
    broker.publish("orders", 1, routing_key="eu.paid")
    broker.ack([message.ack_id for message in broker.pull("all")])

    answer = api.get("audit/").json()

    assert answer.keys() == {"results", "next", "previous"}
    everyone, europe = answer["results"]
    assert (everyone["subscription"], everyone["matched"], everyone["acked"]) == ("all", 1, 1)
    assert (europe["pending"], europe["balance"], europe["ok"]) == (1, 0, True)
    assert api.get("audit/", subscription="europe").json()["results"] == [europe]
    assert api.get("audit/", subscription="nowhere").json()["code"] == "subscription_not_found"
