"""Topics as people make, change and delete them."""

from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings

from datapunk_broker.engine.topology import (
    delete_topic,
    update_topic,
)
from datapunk_broker.exceptions import (
    ConfigInvalidError,
    DeliveryModeInvalidError,
    SchemaMismatchError,
    TopicBusyError,
    TopicNotFoundError,
)
from datapunk_broker.models import Subscription, Topic
from tests.engine.verbs import USING, send, subscribe, topic, versions

pytestmark = pytest.mark.django_db


def test_topic_keeps_what_it_was_given_and_inherits_the_rest() -> None:
    made = topic(type="topic", retention_hours=48, schema={"type": "object"}, overflow="drop_oldest")
    kept = Topic.objects.get()
    assert (kept.type, kept.retention_hours, kept.schema) == ("topic", 48.0, {"type": "object"})
    assert (kept.overflow, kept.max_subscribers, kept.persistent) == ("drop_oldest", None, None)
    assert made.pk == kept.pk


@override_settings(DATAPUNK_BROKER={"TOPIC_TYPE": "direct"})
def test_topic_without_a_type_takes_the_settings_type() -> None:
    assert topic().type == "direct"


def test_taken_topic_name_is_refused_and_leaves_the_transaction_usable() -> None:
    topic()
    with transaction.atomic():
        with pytest.raises(ConfigInvalidError, match="'orders' is the name of another topic") as refused:
            topic()
        topic("refunds")
    assert refused.value.field == "name"
    assert set(Topic.objects.values_list("name", flat=True)) == {"orders", "refunds"}


def test_name_of_a_deleted_topic_is_free_again() -> None:
    first = topic()
    delete_topic("orders", using=USING)
    assert topic().pk != first.pk


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"schema": {"type": "no such type"}}, "schema"),
        ({"schema": {"const": "a\0b"}}, "NUL"),
        ({"schema": {"$ref": "https://example.com/schema.json"}}, "schema"),
        ({"dead_letter_topic": "orders"}, "dead_letter_topic"),
    ],
)
def test_topic_that_cannot_work_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigInvalidError, match=problem):
        topic(**options)
    assert not Topic.objects.exists()


@override_settings(DATAPUNK_BROKER={"ENABLE_PERSISTENCE": False})
def test_topic_that_stores_nothing_by_the_settings_promises_at_most_once_alone() -> None:
    with pytest.raises(DeliveryModeInvalidError):
        topic(delivery_mode="exactly_once")


def test_updating_a_topic_changes_its_options_and_its_routing_version() -> None:
    topic()
    before = versions()
    changed = update_topic("orders", {"schema": {"type": "array"}, "max_subscribers": 5}, using=USING)
    assert (changed.schema, changed.max_subscribers) == ({"type": "array"}, 5)
    assert before != versions() == {"orders": changed.routing_version}
    with pytest.raises(SchemaMismatchError):
        send()


def test_new_type_of_a_topic_routes_the_next_message() -> None:
    topic(type="direct")
    subscribe()
    assert send("billing").deliveries == 1
    assert send("eu.paid").deliveries == 0
    update_topic("orders", {"type": "fanout"}, using=USING)
    assert send("eu.paid").deliveries == 1


def test_update_that_changes_nothing_bumps_no_version() -> None:
    topic(schema={"const": 1}, retention_hours=2)
    before = versions()
    update_topic("orders", {"name": "orders", "schema": {"const": 1.0}, "retention_hours": 2.0}, using=USING)
    assert versions() == before


def test_true_and_one_are_different_schemas() -> None:
    topic(schema={"const": 1})
    assert update_topic("orders", {"schema": {"const": True}}, using=USING).schema == {"const": True}
    assert Topic.objects.get().schema == {"const": True}


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"name": "other"}, "name"), ({"retention": 3}, "retention"), ({"max_subscribers": 0}, "max_subscribers")],
)
def test_topic_refuses_a_change_that_cannot_be(changes: dict[str, Any], field: str) -> None:
    topic()
    with pytest.raises(ConfigInvalidError) as refused:
        update_topic("orders", changes, using=USING)
    assert refused.value.field == field


def test_option_set_to_none_is_inherited_again() -> None:
    topic(type="direct", max_message_size=10)
    changed = update_topic("orders", {"type": None, "max_message_size": None}, using=USING)
    assert (changed.type, changed.max_message_size) == ("fanout", None)


@pytest.mark.parametrize(
    ("subscription", "change"),
    [
        ({"bindings": [{"routing_key": "eu.*"}]}, {"type": "fanout"}),
        ({"transport": "pull"}, {"persistent": False}),
        ({"ordering": True}, {"persistent": False}),
    ],
)
def test_topic_refuses_what_its_subscriptions_could_not_live_with(
    subscription: dict[str, Any], change: dict[str, Any]
) -> None:
    topic(type="topic")
    subscribe(**subscription)
    with pytest.raises(ConfigInvalidError, match=r"subscriptions\.billing"):
        update_topic("orders", change, using=USING)
    kept = Topic.objects.get()
    assert (kept.type, kept.persistent) == ("topic", None)


def test_topic_with_waiting_messages_is_deleted_only_by_force() -> None:
    topic()
    subscribe()
    send()
    send()
    with pytest.raises(TopicBusyError) as refused:
        delete_topic("orders", using=USING)
    assert (refused.value.code, refused.value.pending, refused.value.topic) == ("topic_busy", 2, "orders")
    assert send().deliveries == 1
    delete_topic("orders", force=True, using=USING)
    assert not Topic.objects.live().exists()
    assert not Subscription.objects.live().exists()
    assert Subscription.objects.filter(deleted_at__isnull=False).count() == 2
    with pytest.raises(TopicNotFoundError):
        send()


@pytest.mark.parametrize("verb", [delete_topic, lambda name, using: update_topic(name, {}, using=using)])
def test_topic_that_is_not_there_is_named(verb: Any) -> None:
    with pytest.raises(TopicNotFoundError, match="nowhere"):
        verb("nowhere", using=USING)
