"""Who would get a message, and why."""

from typing import Any

import pytest
from django.test import override_settings

from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.engine.explain import Explained, explain
from datapunk_broker.engine.routes import route_of
from datapunk_broker.engine.topology import create_subscription, create_topic, delete_subscription, pause
from datapunk_broker.exceptions import PayloadInvalidError, TopicNotFoundError
from datapunk_broker.models import Binding, Subscription
from datapunk_broker.states import SubscriptionState

USING = "default"

pytestmark = pytest.mark.django_db


def topic(kind: str, **subscriptions: list[dict[str, Any]]) -> None:
    create_topic(TopicConfig("orders", type=kind), using=USING)
    for name, bindings in subscriptions.items():
        create_subscription(SubscriptionConfig(name, "orders", bindings=bindings), using=USING)


def because(name: str, routing_key: str = "", headers: dict[str, Any] | None = None) -> str:
    explained = explain("orders", routing_key=routing_key, headers=headers, using=USING).subscriptions
    return next(each.because for each in explained if each.name == name)


def test_explains_every_subscription_by_name_and_not_the_stream() -> None:
    topic("topic", b=[{"routing_key": "eu.*"}], a=[{"routing_key": "us.#"}])
    explanation = explain("orders", routing_key="eu.paid", using=USING)
    assert explanation.matches == ("b",)
    assert explanation.subscriptions == (
        Explained("a", matches=False, because="'us.#' does not match 'eu.paid'"),
        Explained("b", matches=True, because="'eu.*' matches 'eu.paid'"),
    )


def test_tells_of_each_binding_that_decides() -> None:
    topic("topic", a=[{"routing_key": "eu.*"}, {"routing_key": "#.paid"}, {"routing_key": "us"}])
    assert because("a", "eu.paid") == "'eu.*' matches 'eu.paid'; '#.paid' matches 'eu.paid'"
    assert because("a", "uk") == ("'eu.*' does not match 'uk'; '#.paid' does not match 'uk'; 'us' does not match 'uk'")


def test_says_when_a_default_stands_for_bindings() -> None:
    topic("direct", billing=[])
    assert explain("orders", routing_key="billing", using=USING).matches == ("billing",)
    assert because("billing", "eu") == "it has no bindings of its own, so by default 'billing' does not equal 'eu'"


def test_fanout_needs_no_bindings_to_be_explained() -> None:
    topic("fanout", billing=[])
    assert because("billing", "eu") == "a fanout topic gives every subscription each message"


def test_compares_headers_by_type() -> None:
    topic("headers", gold=[{"headers": {"x-match": "any", "n": 1}}])
    assert explain("orders", headers={"n": 1}, using=USING).matches == ("gold",)
    assert explain("orders", headers={"n": "1"}, using=USING).matches == ()
    assert "n" in because("gold", headers={"n": True})


@pytest.mark.parametrize("key", ["a", "z"])
def test_says_of_a_paused_subscription_that_it_waits(key: str) -> None:
    topic("topic", a=[{"routing_key": "a"}])
    pause("a", using=USING)
    explanation = explain("orders", routing_key=key, using=USING)
    assert explanation.matches == (("a",) if key == "a" else ())
    assert explanation.subscriptions[0].because.endswith("it is paused, and delivers nothing until it is resumed")


def test_says_of_a_disabled_subscription_who_stopped_it() -> None:
    topic("fanout", a=[])
    Subscription.objects.filter(name="a").update(state=SubscriptionState.DISABLED)
    assert "the broker disabled it" in because("a")


def test_leaves_out_what_was_deleted() -> None:
    topic("fanout", a=[], b=[])
    delete_subscription("a", using=USING)
    assert explain("orders", using=USING).matches == ("b",)


def test_asks_the_database_and_not_what_publishing_remembers() -> None:
    topic("topic", a=[{"routing_key": "eu.*"}])
    route_of("orders", USING)
    Binding.objects.update(routing_key="us.*")
    assert explain("orders", routing_key="us.paid", using=USING).matches == ("a",)


@override_settings(DATAPUNK_BROKER={"TOPIC_TYPE": "direct"})
def test_explains_by_the_type_that_the_topic_was_made_with() -> None:
    topic("fanout", a=[])
    assert explain("orders", routing_key="z", using=USING).matches == ("a",)


@pytest.mark.parametrize("bad", [{"routing_key": "a\0"}, {"routing_key": "k" * 256}, {"headers": {"n": float("nan")}}])
def test_refuses_what_could_not_be_published(bad: dict[str, Any]) -> None:
    topic("topic")
    with pytest.raises(PayloadInvalidError):
        explain("orders", **bad, using=USING)


def test_names_a_topic_that_is_not_there() -> None:
    with pytest.raises(TopicNotFoundError):
        explain("orders", using=USING)
