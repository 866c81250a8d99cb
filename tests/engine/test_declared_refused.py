"""Declarations that cannot be: named, and without a trace."""

import pytest
from django.db import transaction

from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.engine.topology import (
    create_subscription,
)
from datapunk_broker.exceptions import (
    ConfigInvalidError,
    TooManySubscribersError,
)
from datapunk_broker.models import Topic
from tests.engine.verbs import USING, patterns, sync

ORDERS = TopicConfig("orders", type="topic", retention_hours=48, schema={"const": [1.5, True, None, 10**25]})
BILLING = SubscriptionConfig(
    "billing",
    "orders",
    bindings=[{"routing_key": "eu.*"}, {"routing_key": "us.*"}],
    breaker={"failures": 3, "open_seconds": 1},
    retry_delay=1e-7,
)

pytestmark = pytest.mark.django_db


def test_bindings_that_the_default_topic_cannot_hold_ask_for_its_declaration() -> None:
    with pytest.raises(ConfigInvalidError, match=r"subscriptions\.billing.*declare it in TOPICS"):
        sync(BILLING)
    assert not Topic.objects.exists()
    sync(SubscriptionConfig("billing", "orders"))
    with pytest.raises(ConfigInvalidError, match=r"subscriptions\.billing.*declare it in TOPICS"):
        sync(BILLING)
    sync(ORDERS, BILLING)
    assert patterns() == ["eu.*", "us.*"]


def test_topic_is_held_against_subscriptions_that_are_not_declared() -> None:
    sync(ORDERS)
    create_subscription(SubscriptionConfig("by-hand", "orders", bindings=[{"routing_key": "eu.*"}]), using=USING)
    with pytest.raises(ConfigInvalidError, match=r"subscriptions\.by-hand"):
        sync(TopicConfig("orders", type="fanout"))
    assert Topic.objects.get().type == "topic"


@pytest.mark.parametrize(
    ("bad", "place"),
    [
        (TopicConfig("bad", schema={"type": "no such"}), r"topics\.bad\.schema"),
        (TopicConfig("bad", dead_letter_topic="bad"), r"topics\.bad\.dead_letter_topic"),
        (SubscriptionConfig("bad", "orders", ack_deadline=1, timeout=2), r"subscriptions\.bad\.ack_deadline"),
        (SubscriptionConfig("bad", "orders", bindings=[{"headers": {}}]), r"subscriptions\.bad: "),
        (SubscriptionConfig("bad", "orders", bindings=[{"headers": {"n": float("nan")}}]), r"subscriptions\.bad: "),
        (SubscriptionConfig("bad", "orders", transport="webhook"), r"subscriptions\.bad\.endpoint_url"),
        (
            SubscriptionConfig("bad", "orders", transport="webhook", endpoint_url="http://10.0.0.1/"),
            r"subscriptions\.bad: .*not public",
        ),
        (SubscriptionConfig("billing", "orders"), r"subscriptions\.billing: is declared twice"),
        (TopicConfig("orders"), r"topics\.orders: is declared twice"),
    ],
)
def test_one_bad_declaration_is_named_and_leaves_nothing_behind(
    bad: TopicConfig | SubscriptionConfig, place: str
) -> None:
    with transaction.atomic():
        with pytest.raises(ConfigInvalidError, match=place):
            sync(ORDERS, BILLING, bad)
        assert not Topic.objects.exists()


def test_bad_change_is_named_and_undoes_the_good_ones() -> None:
    sync(ORDERS, BILLING)
    bad = SubscriptionConfig("billing", "orders", bindings=[{"headers": {"a": 1}}])
    with pytest.raises(ConfigInvalidError, match=r"subscriptions\.billing"):
        sync(TopicConfig("orders", type="topic", max_subscribers=3), bad)
    assert Topic.objects.get().max_subscribers is None


def test_subscription_cannot_be_declared_into_another_topic() -> None:
    sync(ORDERS, BILLING)
    with pytest.raises(ConfigInvalidError, match=r"subscriptions\.billing\.topic: is 'orders'"):
        sync(ORDERS, SubscriptionConfig("billing", "refunds"))
    assert not Topic.objects.filter(name="refunds").exists()


def test_limit_of_subscribers_holds_for_declarations() -> None:
    with pytest.raises(TooManySubscribersError):
        sync(TopicConfig("orders", max_subscribers=1), *(SubscriptionConfig(n, "orders") for n in "ab"))
    sync(TopicConfig("orders", max_subscribers=2), *(SubscriptionConfig(n, "orders") for n in "ab"))
    with pytest.raises(TooManySubscribersError):
        sync(SubscriptionConfig("c", "orders"))
