from contextlib import closing
from datetime import timedelta
from functools import partial

import pytest
from django.db import transaction
from django.utils import timezone

from datapunk_broker.engine.prune import prune
from datapunk_broker.engine.redrive import redrive
from datapunk_broker.engine.seek import Sought, seek
from datapunk_broker.models import Delivery, Message, SettledDelivery
from tests.engine.make import aged, balanced, died, ended, make_subscription, make_topic, published
from tests.engine.racing import Actors, wait_until_blocked

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

LONG_AGO = timezone.now() - timedelta(days=30)

back = partial(seek, "billing", to=LONG_AGO, using="default")


def test_concurrent_seeks_owe_each_message_once() -> None:
    topic = make_topic()
    ended(make_subscription(topic), published(topic, *range(700)))
    with closing(Actors()) as actors:
        results: list[Sought] = actors.race(*[back] * 3)
    assert sum(result.rearmed for result in results) == Delivery.objects.count() == 700
    assert balanced()


def test_seeks_of_two_subscriptions_both_note_where_they_routed_a_message() -> None:
    topic = make_topic()
    published(topic, *range(700))
    late = [make_subscription(topic, name) for name in ("one", "two")]
    with closing(Actors()) as actors:
        results = actors.race(*(partial(seek, s.name, to=LONG_AGO, using="default") for s in late))
    assert [result.recreated for result in results] == [700, 700]
    assert all(sorted(m.routed_to) == [s.pk for s in late] for m in Message.objects.all())
    assert balanced()


def test_a_seek_and_a_redrive_of_the_same_letters_deliver_each_once() -> None:
    topic = make_topic()
    died(make_subscription(topic), published(topic, *range(700)))
    with closing(Actors()) as actors:
        sought, redriven = actors.race(back, partial(redrive, {}, using="default"))
    assert sought.rearmed + redriven.count == 700
    assert Delivery.objects.count() == 700
    assert balanced()


def test_prune_leaves_alone_what_a_seek_is_about_to_owe() -> None:
    topic = make_topic()
    billing = make_subscription(topic)
    messages = published(topic, 1, 2)
    ended(billing, messages)
    aged(messages, timedelta(days=2))
    with closing(Actors()) as actors:
        with transaction.atomic():
            back()
            assert actors.start(partial(prune, using="default")).result(30).messages == 0
        assert prune(using="default").messages == 0
    assert Delivery.objects.count() == Message.objects.count() == 2
    assert balanced()


def test_a_seek_that_waited_for_prune_owes_nothing_that_is_gone() -> None:
    topic = make_topic()
    billing = make_subscription(topic)
    messages = published(topic, 1, 2)
    ended(billing, messages)
    aged(messages, timedelta(days=2))
    with closing(Actors()) as actors:
        with transaction.atomic():
            assert prune(using="default").messages == 2
            beside = actors.start(back)
            wait_until_blocked(beside)
        assert beside.result(30) == Sought(0, 0, 0)
    assert not Delivery.objects.exists()
    assert not SettledDelivery.objects.exists()
