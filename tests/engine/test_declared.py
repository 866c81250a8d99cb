"""What is declared in code, brought into a database that people change too."""

from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.engine.drift import Drift, drift
from datapunk_broker.engine.reconcile import Report, Synced
from datapunk_broker.engine.topology import (
    create_subscription,
    create_topic,
    delete_subscription,
    delete_topic,
    pause,
    update_subscription,
    update_topic,
)
from datapunk_broker.models import Binding, StreamHead, Subscription, Topic
from tests.engine.verbs import USING, listening, patterns, sync, versions

ORDERS = TopicConfig("orders", type="topic", retention_hours=48, schema={"const": [1.5, True, None, 10**25]})
BILLING = SubscriptionConfig(
    "billing",
    "orders",
    bindings=[{"routing_key": "eu.*"}, {"routing_key": "us.*"}],
    breaker={"failures": 3, "open_seconds": 1},
    retry_delay=1e-7,
)

pytestmark = pytest.mark.django_db

SECRETS = [f"whsec_{b64encode(bytes([n]) * 32).decode()}" for n in range(2)]
HOOK = SubscriptionConfig(
    "hook", "orders", transport="webhook", endpoint_url="https://example.com/hook", secret=SECRETS[0]
)


def test_creates_what_is_missing() -> None:
    report = sync(ORDERS, BILLING)
    assert report == Report(
        created=(Synced("topics", "orders"), Synced("subscriptions", "billing")),
        updated=(),
        unchanged=(),
        drifted=(),
    )
    made = Topic.objects.get()
    assert (made.type, made.retention_hours, made.schema) == ("topic", 48.0, ORDERS.schema)
    assert patterns() == ["eu.*", "us.*"]
    assert Subscription.objects.filter(name="stream:orders").exists()
    assert StreamHead.objects.get().topic_id == made.pk


def test_second_sync_changes_nothing_and_bumps_no_version() -> None:
    configs = ORDERS, BILLING, SubscriptionConfig("audit", "elsewhere")
    sync(*configs)
    before = versions(), list(Topic.objects.values()), list(Subscription.objects.values()), patterns()
    report = sync(*configs)
    assert before == (versions(), list(Topic.objects.values()), list(Subscription.objects.values()), patterns())
    assert [each.name for each in report.unchanged] == ["orders", "billing", "audit"]
    assert (report.created, report.updated, report.drifted) == ((), (), ())


def test_sync_without_news_takes_the_same_few_statements_for_any_number() -> None:
    def statements(count: int) -> list[str]:
        configs = [SubscriptionConfig(f"s{n}", f"t{n}", mode="batch") for n in range(count)]
        sync(*configs)
        with CaptureQueriesContext(connection) as captured:
            sync(*configs)
        return [query["sql"] for query in captured if "SAVEPOINT" not in query["sql"]]

    few = statements(2)
    assert len(few) == len(statements(20)) <= 6
    assert all(sql.startswith("SELECT") for sql in few)


def test_sync_creates_any_number_in_the_same_few_statements() -> None:
    def statements(topic: str, count: int) -> int:
        configs = [SubscriptionConfig(f"{topic}{n}", topic, bindings=[{"routing_key": "a"}]) for n in range(count)]
        with CaptureQueriesContext(connection) as captured:
            sync(TopicConfig(topic, type="topic"), *configs)
        return len(captured)

    assert statements("a", 2) == statements("b", 20)


def test_changes_what_the_declaration_changed_and_leaves_what_an_admin_edited() -> None:
    sync(ORDERS, BILLING)
    update_topic("orders", {"max_message_size": 10, "retention_hours": 1}, using=USING)
    update_subscription("billing", {"timeout": 2, "bindings": [{"routing_key": "uk.*"}]}, using=USING)
    news = SubscriptionConfig("billing", "orders", bindings=BILLING.bindings, max_attempts=9)
    report = sync(TopicConfig("orders", type="topic", retention_hours=48, max_subscribers=3), news)
    topic, billing = Topic.objects.get(), Subscription.objects.get(name="billing")
    assert (topic.max_subscribers, topic.schema) == (3, None)
    assert (topic.max_message_size, topic.retention_hours) == (10, 1.0)
    assert (billing.max_attempts, billing.breaker, billing.retry_delay) == (9, None, None)
    assert (billing.timeout, patterns()) == (2.0, ["uk.*"])
    assert report.updated == (
        Synced("topics", "orders", ("max_subscribers", "schema")),
        Synced("subscriptions", "billing", ("breaker", "max_attempts", "retry_delay")),
    )
    assert report.drifted == (
        Drift("topics", "orders", "max_message_size", None, 10),
        Drift("topics", "orders", "retention_hours", 48.0, 1.0),
        Drift(
            "subscriptions",
            "billing",
            "bindings",
            [{"routing_key": "eu.*"}, {"routing_key": "us.*"}],
            [{"routing_key": "uk.*"}],
        ),
        Drift("subscriptions", "billing", "timeout", None, 2.0),
    )


def test_declaration_that_changes_wins_over_the_edit_of_that_option() -> None:
    sync(TopicConfig("orders", retention_hours=1))
    update_topic("orders", {"retention_hours": 2}, using=USING)
    assert sync(TopicConfig("orders", retention_hours=3)).updated == (Synced("topics", "orders", ("retention_hours",)),)
    assert Topic.objects.get().retention_hours == 3.0


def test_declaration_that_follows_an_edit_is_remembered_without_an_update() -> None:
    sync(TopicConfig("orders", retention_hours=1))
    update_topic("orders", {"retention_hours": 3}, using=USING)
    before = versions()
    assert sync(TopicConfig("orders", retention_hours=3)).unchanged == (Synced("topics", "orders"),)
    assert versions() == before
    update_topic("orders", {"retention_hours": 4}, using=USING)
    [drifted] = sync(TopicConfig("orders", retention_hours=3)).drifted
    assert (drifted.declared, drifted.actual) == (3.0, 4.0)


def test_new_bindings_reach_publishers() -> None:
    sync(ORDERS, BILLING)
    before = versions()
    sync(ORDERS, SubscriptionConfig("billing", "orders", bindings=[{"routing_key": "#"}]))
    assert patterns() == ["#"]
    assert versions() != before


def test_true_for_one_is_a_change() -> None:
    sync(TopicConfig("orders", type="headers"), SubscriptionConfig("s", "orders", bindings=[{"headers": {"a": 1}}]))
    news = SubscriptionConfig("s", "orders", bindings=[{"headers": {"a": True}}])
    sync(TopicConfig("orders", type="headers"), news)
    assert Binding.objects.get().headers["a"] is True


def test_topic_made_by_hand_takes_what_is_declared_and_keeps_the_rest() -> None:
    create_topic(TopicConfig("orders", max_subscribers=7, retention_hours=5), using=USING)
    create_subscription(SubscriptionConfig("billing", "orders", timeout=3), using=USING)
    report = sync(TopicConfig("orders", retention_hours=48), SubscriptionConfig("billing", "orders", max_attempts=2))
    topic, billing = Topic.objects.get(), Subscription.objects.get(name="billing")
    assert (topic.max_subscribers, topic.retention_hours) == (7, 48.0)
    assert (billing.timeout, billing.max_attempts) == (3.0, 2)
    assert {each.field for each in report.drifted} == {"max_subscribers", "timeout"}


def test_never_deletes_what_is_declared_no_more() -> None:
    sync(ORDERS, BILLING)
    assert sync() == Report(created=(), updated=(), unchanged=(), drifted=())
    assert Subscription.objects.listed().count() == 1


def test_never_resumes_what_was_paused() -> None:
    sync(ORDERS, BILLING)
    pause("billing", using=USING)
    sync(ORDERS, SubscriptionConfig("billing", "orders", max_attempts=1))
    assert Subscription.objects.get(name="billing").state == "paused"


def test_makes_again_what_was_deleted() -> None:
    sync(ORDERS, BILLING)
    delete_topic("orders", force=True, using=USING)
    assert [each.name for each in sync(ORDERS, BILLING).created] == ["orders", "billing"]
    delete_subscription("billing", using=USING)
    assert sync(ORDERS, BILLING).created == (Synced("subscriptions", "billing"),)


@override_settings(DATAPUNK_BROKER={"TOPIC_TYPE": "topic"})
def test_topic_that_only_a_subscription_names_is_made_with_the_defaults() -> None:
    report = sync(BILLING)
    assert report.created[0] == Synced("topics", "orders")
    assert (Topic.objects.get().type, Topic.objects.get().declared) == ("topic", None)


def test_type_and_bindings_change_together_either_way() -> None:
    sync(TopicConfig("orders"), SubscriptionConfig("billing", "orders"))
    sync(ORDERS, BILLING)
    assert patterns() == ["eu.*", "us.*"]
    sync(TopicConfig("orders", type="fanout"), SubscriptionConfig("billing", "orders"))
    assert (Topic.objects.get().type, patterns()) == ("fanout", [])


def test_subscription_that_an_admin_moved_stays_there_as_drift() -> None:
    sync(ORDERS, BILLING)
    create_topic(TopicConfig("refunds", type="topic"), using=USING)
    Subscription.objects.filter(name="billing").update(topic=Topic.objects.get(name="refunds"))
    [drifted] = sync(ORDERS, BILLING).drifted
    assert drifted == Drift("subscriptions", "billing", "topic", "orders", "refunds")


def test_stream_follows_the_declaration() -> None:
    sync(TopicConfig("orders", stream=False))
    assert not Subscription.objects.exists()
    before = versions()
    sync(TopicConfig("orders"))
    assert Subscription.objects.get().name == "stream:orders"
    assert versions() != before


def test_secret_that_is_declared_anew_takes_the_place_of_the_last() -> None:
    sync(ORDERS, HOOK)
    assert [each.name for each in sync(ORDERS, HOOK).updated] == []
    report = sync(ORDERS, replace(HOOK, secret=SECRETS[1]))
    assert [(each.name, each.fields) for each in report.updated] == [("hook", ("secret",))]
    row = Subscription.objects.get(name="hook")
    assert (row.secret, row.previous_secret) == (SECRETS[1], SECRETS[0])


def test_secret_that_was_rotated_by_hand_stays_while_the_declaration_does() -> None:
    sync(ORDERS, HOOK)
    update_subscription("hook", {"secret": SECRETS[1]}, using=USING)
    sync(ORDERS, HOOK)
    sync(ORDERS, replace(HOOK, secret=None))
    assert Subscription.objects.get(name="hook").secret == SECRETS[1]


def test_secret_is_not_kept_with_the_declaration() -> None:
    sync(ORDERS, HOOK)
    assert SECRETS[0].removeprefix("whsec_") not in str(Subscription.objects.get(name="hook").declared)


def test_drift_is_read_without_writing() -> None:
    sync(ORDERS, BILLING)
    update_subscription("billing", {"ordering": True}, using=USING)
    before = versions()
    found = drift([ORDERS, TopicConfig("missing")], [BILLING], using=USING)
    assert found == (Drift("subscriptions", "billing", "ordering", declared=False, actual=True),)
    assert versions() == before


def test_type_that_is_not_declared_drifts_from_the_settings_type() -> None:
    sync(TopicConfig("orders"))
    assert drift([TopicConfig("orders")], [], using=USING) == ()
    with override_settings(DATAPUNK_BROKER={"TOPIC_TYPE": "direct"}):
        assert drift([TopicConfig("orders")], [], using=USING) == (
            Drift("topics", "orders", "type", "direct", "fanout"),
        )


def test_tells_of_the_topics_that_changed_once_each(django_capture_on_commit_callbacks: Any) -> None:
    with listening() as told:
        for _ in range(2):
            with django_capture_on_commit_callbacks(execute=True):
                sync(ORDERS, BILLING, SubscriptionConfig("audit", "elsewhere"))
    assert [event["topic"] for event in told] == ["elsewhere", "orders"]


def test_a_new_secret_key_makes_no_declaration_look_changed() -> None:
    sync(ORDERS, HOOK)
    update_subscription("hook", {"secret": SECRETS[1]}, using=USING)
    with override_settings(SECRET_KEY="another"):
        assert sync(ORDERS, HOOK).updated == ()
    assert Subscription.objects.get(name="hook").secret == SECRETS[1]
