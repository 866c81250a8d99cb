from contextlib import closing
from functools import partial
from typing import Any

import pytest
from django.db import transaction

from datapunk_broker.engine.letters import Chosen
from datapunk_broker.engine.redrive import Redriven, discard, redrive
from datapunk_broker.models import DeadLetter, Delivery
from tests.engine.make import (
    balanced,
    delete_subscription,
    died,
    make_subscription,
    make_topic,
    published,
)
from tests.engine.racing import Actors, wait_until_blocked

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


def redriven(dead_letters: Chosen, **options: Any) -> Redriven:
    return redrive(dead_letters, using="default", **options)


@pytest.mark.parametrize("options", [{}, {"payload": {"edited": True}}])
def test_concurrent_redrives_of_the_same_letters_deliver_each_once(options: dict[str, Any]) -> None:
    topic = make_topic()
    died(make_subscription(topic), published(topic, *range(1200)))
    with closing(Actors()) as actors:
        results = actors.race(*[partial(redriven, {"topic": "orders"}, **options)] * 4)
    redelivered = [pk for result in results for pk in result.message_ids]
    assert len(redelivered) == len(set(redelivered)) == 1200
    assert Delivery.objects.count() == 1200
    assert set(DeadLetter.objects.values_list("redrives", flat=True)) == {1}
    assert balanced()


def test_a_redrive_that_waited_for_the_subscriptions_deletion_skips_it() -> None:
    topic = make_topic()
    billing = make_subscription(topic)
    [letter] = died(billing, published(topic, 1))
    with closing(Actors()) as actors:
        with transaction.atomic():
            delete_subscription(billing)
            beside = actors.start(partial(redriven, {}))
            wait_until_blocked(beside)
        assert beside.result(30) == Redriven(0, (), (letter.pk,))
    assert not Delivery.objects.exists()


def test_a_letter_that_is_discarded_meanwhile_is_not_redriven() -> None:
    topic = make_topic()
    died(make_subscription(topic), published(topic, 1))
    with closing(Actors()) as actors:
        with transaction.atomic():
            assert discard({}, using="default") == 1
            beside = actors.start(partial(redriven, {}))
            wait_until_blocked(beside)
        assert beside.result(30) == Redriven(0, (), ())
    assert not Delivery.objects.exists()
    assert balanced()
