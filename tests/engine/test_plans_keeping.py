"""What keeps topics and subscriptions finds their deliveries by index, however many others there are."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from datapunk_broker.engine.keeping import restamp
from datapunk_broker.engine.prune import TOMBSTONE_AGE, prune
from datapunk_broker.engine.seek import seek
from datapunk_broker.engine.topology import delete_topic
from datapunk_broker.exceptions import TopicBusyError
from datapunk_broker.models import Delivery, Subscription, Topic
from datapunk_broker.states import SubscriptionState
from tests.engine.make import make_subscription, make_topic
from tests.engine.plans import CLAIMED, DELIVERY, SCHEDULED, analyze, explained, fill, standing, write_messages
from tests.engine.working import USING

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db]

OTHERS = 200_000
FEW = 300


@dataclass
class Crowd:
    """A topic with few deliveries of each kind, and one with two hundred thousand."""

    topic: Topic
    mine: Subscription


@pytest.fixture(scope="module")
def crowd(django_db_setup: None, django_db_blocker: Any) -> Iterator[Crowd]:
    with standing(crowded, django_db_blocker) as crowd:
        yield crowd


def crowded() -> Crowd:
    fill(make_subscription(make_topic("busy"), "busy"), OTHERS)
    topic = make_topic()
    mine = make_subscription(topic, "mine")
    for columns in ({}, SCHEDULED, CLAIMED, {"lapses": "1"}, {"ordering_key": "'k'"}):
        fill(mine, FEW // 5, **columns)
    write_messages(mine, FEW, "%")
    analyze()
    return Crowd(topic, mine)


def refused_deletion(crowd: Crowd) -> None:
    with suppress(TopicBusyError):
        delete_topic(crowd.topic.name, using=USING)


def buried(crowd: Crowd) -> None:
    long_ago = {"state": SubscriptionState.DELETED, "deleted_at": Now() - 2 * TOMBSTONE_AGE}
    Subscription.objects.filter(pk=crowd.mine.pk).update(**long_ago)
    prune(using=USING)


def sought(crowd: Crowd, to: timedelta) -> None:
    seek(crowd.mine.name, to=timezone.now() + to, using=USING)


def ordered(crowd: Crowd) -> None:
    Subscription.objects.filter(pk=crowd.mine.pk).update(ordering=True)
    restamp(Subscription.objects.get(pk=crowd.mine.pk), using=USING)


VERBS: list[Callable[[Crowd], Any]] = [
    refused_deletion,
    buried,
    partial(sought, to=timedelta(days=1)),
    partial(sought, to=-timedelta(days=1)),
    lambda crowd: restamp(crowd.mine, using=USING),
    ordered,
]


@pytest.mark.parametrize("verb", VERBS)
def test_it_reads_no_more_than_there_is_of_its_own(crowd: Crowd, verb: Callable[[Crowd], Any]) -> None:
    for plan in explained(lambda: verb(crowd)):
        assert not {"", f"{DELIVERY}_pkey"} & plan.indexes or plan.rows_read <= FEW, plan.sql
        assert plan.rows_read <= 4 * FEW, plan.sql
    assert Delivery.objects.count() > OTHERS
