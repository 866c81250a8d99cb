"""What costs a sweep most is done by one at a time; the others wait for nobody and do the rest."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from datapunk_broker.engine.dialects import LIMITING, RESTAMPING, dialect_of
from datapunk_broker.engine.sweep import sweep
from datapunk_broker.models import Delivery, SettledDelivery, Subscription
from tests.engine.make import make_subscription, make_topic, published
from tests.engine.working import USING, let_pass
from tests.races.actors import Actors, opened

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


def locking(lock: int) -> Callable[[], bool]:
    return lambda: dialect_of(USING).try_lock(lock)


def test_while_one_looks_at_the_limits_another_goes_past_them(actors: Actors) -> None:
    topic = make_topic(max_queue_size=3, overflow="drop_oldest")
    make_subscription(topic)
    published(topic, *range(4))
    published(topic, 4, delay=timedelta(minutes=1))
    let_pass(timedelta(minutes=2))
    with opened(actors, locking(LIMITING)):
        swept = sweep(using=USING)
        assert (swept.due, swept.dropped) == (1, 0)
    assert sweep(using=USING).dropped == 2


def test_sweeps_at_once_drop_no_more_than_is_over_the_limit(actors: Actors) -> None:
    topic = make_topic(max_queue_size=100, overflow="drop_oldest")
    make_subscription(topic)
    published(topic, *range(400))
    swept = actors.race(*[lambda: sweep(using=USING)] * 4)
    assert sum(one.dropped for one in swept) == 300
    assert Delivery.objects.count() == 100
    assert SettledDelivery.objects.filter(outcome="dropped").count() == 300


def test_while_one_gives_deliveries_their_keys_another_goes_past_them(actors: Actors) -> None:
    topic = make_topic()
    make_subscription(topic)
    published(topic, 1, ordering_key="k")
    Subscription.objects.update(ordering=True, restamp_until=Now() + timedelta(minutes=1))
    with opened(actors, locking(RESTAMPING)):
        sweep(using=USING)
        assert Delivery.objects.get().ordering_key is None
    sweep(using=USING)
    assert Delivery.objects.get().ordering_key == "k"
