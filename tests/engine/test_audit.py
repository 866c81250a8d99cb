from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from datapunk_broker.engine.audit import AuditLine, audit
from datapunk_broker.exceptions import SubscriptionNotFoundError
from datapunk_broker.models import Delivery, SettledDelivery, Topic
from datapunk_broker.states import Settled, TopicType, Transport
from tests.engine.make import (
    delete_subscription,
    died,
    ended,
    make_subscription,
    make_topic,
    published,
)

pytestmark = pytest.mark.django_db


def line_of(name: str) -> AuditLine:
    [line] = audit(using="default", subscription=name)
    return line


def test_every_matched_message_is_accounted_for_by_its_end_or_as_pending() -> None:
    topic = make_topic()
    billing = make_subscription(topic)
    messages = published(topic, *range(9))
    ended(billing, messages[:3])
    died(billing, messages[3:5])
    ended(billing, messages[5:6], Settled.EXPIRED)
    ended(billing, messages[6:7], Settled.DROPPED)
    assert line_of("billing") == AuditLine(
        subscription="billing",
        topic="orders",
        published=9,
        matched=9,
        acked=3,
        dead=2,
        expired=1,
        dropped=1,
        pending=2,
        balance=0,
        missing=0,
        surplus=0,
        unrecorded=0,
    )


def test_a_subscription_answers_only_for_what_its_bindings_matched() -> None:
    topic = make_topic(type=TopicType.TOPIC)
    make_subscription(topic, "europe", ["eu.*"])
    make_subscription(topic, "everyone")
    published(topic, 1, 2, routing_key="eu.paid")
    published(topic, 3, routing_key="us.paid")
    lines = {line.subscription: line for line in audit(using="default")}
    assert [(lines[n].published, lines[n].matched) for n in ("europe", "everyone")] == [(3, 2), (3, 3)]
    assert all(line.ok and line.balance == 0 for line in lines.values())


def test_lines_come_by_name_without_streams_and_deleted_subscriptions() -> None:
    topic = make_topic(stream=True)
    _, gone, _ = (make_subscription(topic, name) for name in ("b", "gone", "a"))
    published(topic, 1)
    delete_subscription(gone)
    lines = audit(using="default")
    assert [(line.subscription, line.matched, line.pending, line.balance) for line in lines] == [
        ("a", 1, 1, 0),
        ("b", 1, 1, 0),
    ]


def test_a_subscription_to_which_nothing_was_published_balances() -> None:
    make_subscription(make_topic())
    line = line_of("billing")
    assert (line.published, line.matched, line.balance, line.ok) == (0, 0, 0, True)


def test_a_lost_delivery_shows() -> None:
    topic = make_topic()
    make_subscription(topic)
    other = make_subscription(topic, "other")
    [message, *_] = published(topic, 1, 2)
    Delivery.objects.filter(message=message, subscription=other).delete()
    assert line_of("billing").ok
    line = line_of("other")
    assert (line.balance, line.missing, line.surplus, line.ok) == (1, 1, 0, False)


def test_a_lost_end_shows() -> None:
    topic = make_topic()
    billing = make_subscription(topic)
    ended(billing, published(topic, 1, 2))
    SettledDelivery.objects.all()[:1].get().delete()
    line = line_of("billing")
    assert (line.acked, line.balance, line.missing) == (1, 1, 1)


def test_a_doubled_delivery_shows() -> None:
    topic = make_topic()
    billing = make_subscription(topic)
    messages = published(topic, 1, 2)
    delivery = Delivery.objects.get(message=messages[0])
    ended(billing, messages)
    delivery.pk = None
    delivery.save(force_insert=True)
    line = line_of("billing")
    assert (line.acked, line.pending, line.balance, line.surplus) == (2, 1, -1, 1)


def test_a_delivery_that_was_never_routed_shows() -> None:
    topic = make_topic(type=TopicType.DIRECT)
    make_subscription(topic, "asked")
    unasked = make_subscription(topic, "unasked")
    published(topic, 1, routing_key="asked")
    delivery = Delivery.objects.get()
    delivery.pk, delivery.subscription = None, unasked
    delivery.save(force_insert=True)
    line = line_of("unasked")
    assert (line.matched, line.pending, line.balance, line.surplus) == (0, 1, -1, 1)


def test_a_loss_and_a_double_do_not_hide_each_other() -> None:
    topic = make_topic()
    billing = make_subscription(topic)
    lost, doubled = published(topic, 1, 2)
    delivery = Delivery.objects.get(message=doubled)
    ended(billing, [doubled])
    delivery.pk = None
    delivery.save(force_insert=True)
    Delivery.objects.filter(message=lost).delete()
    line = line_of("billing")
    assert (line.balance, line.missing, line.surplus, line.ok) == (0, 1, 1, False)


def test_a_topic_without_history_has_no_balance_but_says_how_much_is_unrecorded() -> None:
    topic = make_topic(history=False)
    billing = make_subscription(topic)
    messages = published(topic, 1, 2, 3)
    ended(billing, messages[:2])
    SettledDelivery.objects.all().delete()
    line = line_of("billing")
    assert (line.matched, line.pending, line.balance, line.unrecorded, line.missing) == (3, 1, None, 2, 0)
    assert line.ok


def test_it_is_one_statement_so_it_sees_one_moment() -> None:
    for name in ("orders", "invoices"):
        topic = make_topic(name)
        for number in range(3):
            make_subscription(topic, f"{name}-{number}")
        published(topic, 1, 2)
    with CaptureQueriesContext(connection) as queries:
        assert len(audit(using="default")) == 6
    assert len(queries) == 1


def test_it_works_inside_the_callers_transaction() -> None:
    topic = make_topic()
    make_subscription(topic)
    with transaction.atomic():
        published(topic, 1)
        assert line_of("billing").pending == 1
        assert Topic.objects.count() == 1


def test_an_unknown_subscription_is_refused() -> None:
    make_subscription(make_topic(), "known")
    with pytest.raises(SubscriptionNotFoundError, match="unknown"):
        audit(using="default", subscription="unknown")


def test_the_stream_of_a_topic_cannot_be_audited_by_name() -> None:
    make_topic(stream=True)
    with pytest.raises(SubscriptionNotFoundError):
        audit(using="default", subscription="stream:orders")


def test_scheduled_and_claimed_deliveries_are_pending() -> None:
    topic = make_topic()
    make_subscription(topic, transport=Transport.PULL)
    published(topic, 1, delay=timedelta(hours=1))
    published(topic, 2)
    line = line_of("billing")
    assert (line.pending, line.balance) == (2, 0)
