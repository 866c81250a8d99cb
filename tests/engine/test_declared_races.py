"""Declarations brought in by several processes at once."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from django.db import transaction

from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.engine.topology import update_topic
from datapunk_broker.engine.transfer import import_topology
from datapunk_broker.models import Subscription, Topic
from tests.engine.racing import LONGEST, Actors, wait_until_blocked
from tests.engine.verbs import USING, sync

ORDERS = TopicConfig("orders", type="topic", retention_hours=48, schema={"const": [1.5, True, None, 10**25]})
BILLING = SubscriptionConfig(
    "billing",
    "orders",
    bindings=[{"routing_key": "eu.*"}, {"routing_key": "us.*"}],
    breaker={"failures": 3, "open_seconds": 1},
    retry_delay=1e-7,
)

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def actors() -> Iterator[Actors]:
    with closing(Actors()) as actors:
        yield actors


def test_two_syncs_at_once_make_each_thing_once(actors: Actors) -> None:
    names = [f"t{n}" for n in range(10)]
    configs = [config for name in names for config in (TopicConfig(name), SubscriptionConfig(f"of-{name}", name))]
    backwards = configs[::-1]
    reports = actors.race(*(lambda each=each: sync(*each) for each in (configs, backwards, configs, backwards)))
    created = [each.name for report in reports for each in report.created]
    assert sorted(created) == sorted(config.name for config in configs)
    assert all(len(report.created) + len(report.unchanged) == 20 for report in reports)
    assert Subscription.objects.live().count() == 20


def test_sync_that_waited_for_another_finds_nothing_left_to_do(actors: Actors) -> None:
    with transaction.atomic():
        sync(ORDERS, BILLING)
        second = actors.start(lambda: sync(ORDERS, BILLING))
        wait_until_blocked(second)
    report = second.result(LONGEST)
    assert [each.name for each in report.unchanged] == ["orders", "billing"]
    assert not report.created


def test_sync_makes_what_another_rolled_back(actors: Actors) -> None:
    with transaction.atomic():
        sync(ORDERS, BILLING)
        second = actors.start(lambda: sync(ORDERS, BILLING))
        wait_until_blocked(second)
        transaction.set_rollback(True)
    assert [each.name for each in second.result(LONGEST).created] == ["orders", "billing"]
    assert Subscription.objects.listed().count() == 1


def test_sync_does_not_undo_the_edit_it_waited_for(actors: Actors) -> None:
    sync(ORDERS, BILLING)
    with transaction.atomic():
        update_topic("orders", {"max_subscribers": 5}, using=USING)
        second = actors.start(lambda: sync(TopicConfig("orders", type="topic", retention_hours=1), BILLING))
        wait_until_blocked(second)
    second.result(LONGEST)
    assert Topic.objects.values_list("max_subscribers", "retention_hours").get() == (5, 1.0)


def test_import_and_sync_at_once_make_each_thing_once(actors: Actors) -> None:
    topics = [TopicConfig(f"t{n}") for n in range(10)]
    subscriptions = [SubscriptionConfig(f"of-t{n}", f"t{n}") for n in range(10)]
    rivals = [
        lambda: sync(*topics, *subscriptions),
        lambda: import_topology(topics, subscriptions, using=USING),
        lambda: sync(*subscriptions[::-1], *topics[::-1]),
        lambda: import_topology(topics[::-1], subscriptions[::-1], using=USING),
    ]
    reports = actors.race(*rivals)
    created = [each.name for report in reports for each in report.created]
    assert sorted(created) == sorted(config.name for config in (*topics, *subscriptions))
    assert all(len(report.created) + len(report.unchanged) == 20 for report in reports)


def test_sync_that_waited_for_an_import_leaves_what_it_changed(actors: Actors) -> None:
    sync(ORDERS, BILLING)
    with transaction.atomic():
        import_topology([TopicConfig("orders", type="topic", retention_hours=7)], [], using=USING)
        second = actors.start(lambda: sync(ORDERS, BILLING))
        wait_until_blocked(second)
    assert "retention_hours" in [drift.field for drift in second.result(LONGEST).drifted]
    assert Topic.objects.get().retention_hours == 7


def test_import_that_waited_for_a_sync_has_the_last_word(actors: Actors) -> None:
    with transaction.atomic():
        sync(ORDERS, BILLING)
        second = actors.start(
            lambda: import_topology([TopicConfig("orders", type="topic", retention_hours=7)], [], using=USING)
        )
        wait_until_blocked(second)
    assert [each.name for each in second.result(LONGEST).updated] == ["orders"]
    assert Topic.objects.get().retention_hours == 7
