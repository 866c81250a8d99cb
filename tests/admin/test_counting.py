from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client

from datapunk_broker.admin import counting
from datapunk_broker.admin.counting import Bounded, backlogs_of, dead_letters_of
from datapunk_broker.models import Delivery, Subscription, Topic
from tests.admin.rooms import page, url_of
from tests.engine.make import claimed, died, ended, make_subscription, make_topic, published

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("bounded", "text"), [(Bounded(), "0"), (Bounded(9999), "9,999"), (Bounded(10_000, more=True), "10,000+")]
)
def test_a_bounded_count_says_when_there_is_more(bounded: Bounded, text: str) -> None:
    assert str(bounded) == text


def test_every_delivery_that_waits_is_counted_once(topic: Topic, billing: Subscription) -> None:
    ordered = make_subscription(topic, "ordered", ordering=True)
    messages = published(topic, *range(6), ordering_key="k")
    published(topic, "later", delay=timedelta(hours=1))
    for row in (billing, ordered):
        claimed(row, messages[:1])
        ended(row, messages[1:2])
        Delivery.objects.of(row.pk).filter(message=messages[2].pk).update(lapses=1)
    assert backlogs_of([billing.pk, ordered.pk], "default") == dict.fromkeys([billing.pk, ordered.pk], Bounded(6))


def test_counting_ends_at_the_bound(topic: Topic, billing: Subscription, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "ALL_COUNTED", 100)
    messages = published(topic, *range(103))
    assert backlogs_of([billing.pk], "default") == {billing.pk: Bounded(100, more=True)}
    died(billing, messages[:101])
    assert dead_letters_of([billing.pk], "default") == {billing.pk: Bounded(100, more=True)}


def test_those_that_wait_for_their_time_are_counted_up_to_a_bound(
    topic: Topic, billing: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "MOST", 3)
    published(topic, 1, 2, 3, delay=timedelta(hours=1))
    assert backlogs_of([billing.pk], "default") == {billing.pk: Bounded(3)}
    published(topic, 4, delay=timedelta(hours=2))
    assert backlogs_of([billing.pk], "default") == {billing.pk: Bounded(3, more=True)}


def test_lists_show_backlogs_and_dead_letters(admin: Client, topic: Topic, billing: Subscription) -> None:
    other = make_subscription(topic, "other")
    messages = published(topic, 1, 2, 3)
    died(billing, messages[:2])
    make_topic("quiet")
    topics = page(admin, url_of("topic"))
    assert '<td class="field-backlog">4</td>' in topics
    assert f'?topic={topic.pk}">2</a>' in topics
    subscriptions = page(admin, url_of("subscription"))
    assert '<td class="field-backlog">1</td>' in subscriptions
    assert '<td class="field-backlog">3</td>' in subscriptions
    assert f'?subscription={billing.pk}">2</a>' in subscriptions
    assert f'?subscription={other.pk}">' not in subscriptions


@pytest.mark.postgresql
def test_no_count_reads_a_table_from_end_to_end(topic: Topic, billing: Subscription) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    for part in counting._indexed_deliveries().values():  # noqa: SLF001 - what is counted by
        rows = Subscription.objects.filter(pk=billing.pk).annotate(n=counting._Count(part, 10))  # noqa: SLF001
        plan = rows.values_list("n").explain()
        assert "Seq Scan" not in plan
