import threading
from contextlib import closing
from datetime import timedelta
from functools import partial

import pytest
from django.db import transaction
from django.utils import timezone

from datapunk_broker.engine.prune import prune
from datapunk_broker.engine.pull import pull, settle_pulled
from datapunk_broker.engine.redrive import redrive
from datapunk_broker.engine.seek import Sought, seek
from datapunk_broker.exceptions import Nack
from datapunk_broker.models import Delivery, Message, SettledDelivery
from tests.engine.make import aged, balanced, died, ended, make_subscription, make_topic, published
from tests.engine.racing import LONGEST, Actors, wait_until_blocked

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


NEXT_YEAR = timezone.now() + timedelta(days=365)

forward = partial(seek, "billing", to=NEXT_YEAR, using="default")

BREAKER = {"failures": 1, "open_seconds": 60}


def test_a_seek_forward_leaves_what_is_being_pulled_to_the_puller_who_may_lock_the_subscription() -> None:
    topic = make_topic()
    make_subscription(topic, breaker=BREAKER)
    published(topic, 1, 2)
    with closing(Actors()) as actors, transaction.atomic():
        [one] = pull("billing", max_messages=1, using="default")
        assert actors.start(forward).result(LONGEST).settled == 1
        settle_pulled([one.ack_id], Nack(), using="default")  # turns the breaker
    assert Delivery.objects.get().message_id == one.id
    assert balanced()


def test_a_seek_back_leaves_what_is_being_pulled_in_its_place() -> None:
    topic = make_topic()
    billing = make_subscription(topic, breaker=BREAKER, ordering=True)
    first, second = published(topic, 1, 2, ordering_key="k")
    ended(billing, [first])
    with closing(Actors()) as actors, transaction.atomic():
        [one] = pull("billing", max_messages=1, using="default")
        assert actors.start(back).result(LONGEST) == Sought(rearmed=1, recreated=0, settled=0)
        settle_pulled([one.ack_id], Nack(), using="default")
    assert [d.message_id for d in Delivery.objects.order_by("pk")] == [second.pk, first.pk]
    assert balanced()


def test_what_somebody_held_only_for_a_moment_is_looked_at_again() -> None:
    topic = make_topic()
    billing = make_subscription(topic)
    published(topic, *range(3))
    held, released = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            assert Delivery.objects.of(billing.pk).order_by("pk").locked()[:1].get()
            held.set()
            assert released.wait(LONGEST)

    with closing(Actors()) as actors:
        beside = actors.start(hold)
        assert held.wait(LONGEST)

        def let_go(looked_at: int) -> None:
            released.set()
            beside.result(LONGEST)

        assert forward(progress=let_go).settled == 3
    assert not Delivery.objects.exists()
    assert balanced()
