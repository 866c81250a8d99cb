"""Subscriptions as people make, change and delete them."""

from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings

from datapunk_broker.engine.topology import (
    delete_subscription,
    update_subscription,
)
from datapunk_broker.exceptions import (
    BindingInvalidError,
    BrokerError,
    ConfigInvalidError,
    NotPersistentError,
    TooManySubscribersError,
    TopicNotFoundError,
)
from datapunk_broker.models import Binding, Delivery, Subscription
from tests.engine.verbs import USING, send, subscribe, topic, versions

pytestmark = pytest.mark.django_db


def test_subscription_gets_what_is_published_after_it() -> None:
    topic(type="topic")
    assert send("eu.paid").deliveries == 0
    made = subscribe(bindings=[{"routing_key": "eu.*"}, {"routing_key": "us.*"}], max_attempts=5)
    assert [send(key).deliveries for key in ("eu.paid", "us.paid", "uk.paid")] == [1, 1, 0]
    assert made.max_attempts == 5
    assert versions() == {"orders": made.topic.routing_version}
    assert [binding.routing_key for binding in made.bindings.all()] == ["eu.*", "us.*"]


def test_breaker_is_kept_as_json_and_read_back() -> None:
    topic()
    made = subscribe(breaker={"failures": 3, "open_seconds": 10})
    assert Subscription.objects.get(pk=made.pk).breaker == {"failures": 3, "open_seconds": 10}
    assert update_subscription("billing", {"timeout": 3}, using=USING).breaker == made.breaker
    assert update_subscription("billing", {"breaker": False}, using=USING).breaker is False
    assert update_subscription("billing", {"breaker": None}, using=USING).breaker is None


@pytest.mark.parametrize(
    ("topic_options", "options", "error"),
    [
        ({}, {"bindings": [{"routing_key": "eu.*"}]}, BindingInvalidError),
        ({"type": "headers"}, {"bindings": [{"headers": {"x-match": "some"}}]}, BindingInvalidError),
        ({"type": "topic"}, {"bindings": [{"routing_key": "a\0b"}]}, BindingInvalidError),
        ({"type": "topic"}, {"bindings": [{"routing_key": "€" * 86}]}, BindingInvalidError),
        ({"persistent": False}, {"transport": "pull"}, NotPersistentError),
        ({"persistent": False}, {"ordering": True}, NotPersistentError),
        ({}, {"ack_deadline": 5, "timeout": 6}, ConfigInvalidError),
        ({}, {"transport": "stream"}, ConfigInvalidError),
    ],
)
def test_subscription_that_its_topic_cannot_serve_is_refused(
    topic_options: dict[str, Any], options: dict[str, Any], error: type[BrokerError]
) -> None:
    topic(**topic_options)
    before = versions()
    with pytest.raises(error):
        subscribe(**options)
    assert not Subscription.objects.listed().exists()
    assert versions() == before


def test_subscription_to_no_topic_is_refused() -> None:
    with pytest.raises(TopicNotFoundError):
        subscribe(to="nowhere")


def test_taken_subscription_name_is_refused_whatever_its_topic() -> None:
    topic()
    topic("refunds")
    subscribe()
    with transaction.atomic():
        with pytest.raises(ConfigInvalidError, match="'billing' is the name of another subscription") as refused:
            subscribe(to="refunds")
        subscribe("audit", to="refunds")
    assert refused.value.field == "name"
    assert Subscription.objects.listed().count() == 2


def test_limit_counts_live_subscriptions_that_people_made() -> None:
    topic(max_subscribers=1)
    subscribe("gone")
    delete_subscription("gone", using=USING)
    subscribe()
    with pytest.raises(TooManySubscribersError) as refused:
        subscribe("one-too-many")
    assert refused.value.limit == 1


@override_settings(DATAPUNK_BROKER={"MAX_SUBSCRIBERS": 1})
def test_limit_is_inherited_from_the_settings() -> None:
    topic()
    subscribe()
    with pytest.raises(TooManySubscribersError):
        subscribe("one-too-many")


def test_new_bindings_replace_all_and_publishers_see_them_at_once() -> None:
    topic(type="topic")
    subscribe(bindings=[{"routing_key": "eu.*"}, {"routing_key": "us.*"}])
    assert send("eu.paid").deliveries == 1
    changed = update_subscription("billing", {"bindings": [{"routing_key": "uk.*"}]}, using=USING)
    assert [send(key).deliveries for key in ("eu.paid", "uk.paid")] == [0, 1]
    assert [binding.routing_key for binding in changed.bindings.all()] == ["uk.*"]
    assert Binding.objects.count() == 1


def test_same_bindings_again_are_left_alone() -> None:
    topic(type="headers")
    bindings = [{"headers": {"x-match": "any", "tier": "gold"}}, {"headers": {"n": None}}]
    subscribe(bindings=bindings)
    rows, before = list(Binding.objects.values_list("pk", flat=True)), versions()
    update_subscription("billing", {"bindings": bindings}, using=USING)
    assert (list(Binding.objects.values_list("pk", flat=True)), versions()) == (rows, before)


def test_new_policy_touches_neither_deliveries_nor_routes() -> None:
    topic()
    subscribe()
    send()
    before, delivery = versions(), Delivery.objects.values().get(subscription__name="billing")
    changes = {"max_attempts": 9, "retry_delay": 5, "max_in_flight": 2, "handler": "shop.orders:bill"}
    changed = update_subscription("billing", changes, using=USING)
    assert (changed.max_attempts, changed.retry_delay, changed.handler) == (9, 5.0, "shop.orders:bill")
    assert versions() == before
    assert Delivery.objects.values().get(subscription__name="billing") == delivery


def test_changing_the_transport_reaches_publishers() -> None:
    topic()
    subscribe(handler="shop.orders:bill")
    before = versions()
    changed = update_subscription("billing", {"transport": "pull"}, using=USING)
    assert (changed.transport, changed.handler) == ("pull", "")
    assert versions() != before


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "other"}, "name"),
        ({"topic": "refunds"}, "topic"),
        ({"state": "paused"}, "state"),
        ({"timeout": 31}, "ack_deadline"),
        ({"transport": "webhook"}, "endpoint_url"),
    ],
)
def test_subscription_refuses_a_change_that_cannot_be(changes: dict[str, Any], field: str) -> None:
    topic()
    topic("refunds")
    subscribe()
    with pytest.raises(ConfigInvalidError) as refused:
        update_subscription("billing", changes, using=USING)
    assert refused.value.field == field


def test_deleted_subscription_gets_nothing_more_and_frees_its_name() -> None:
    topic()
    first = subscribe()
    assert send().deliveries == 1
    delete_subscription("billing", using=USING)
    assert send().deliveries == 0
    assert Delivery.objects.filter(subscription=first).count() == 1
    assert subscribe().pk != first.pk
