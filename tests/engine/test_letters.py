from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from datapunk_broker.engine.letters import Chosen, chosen
from datapunk_broker.engine.redrive import Redriven, discard, redrive
from datapunk_broker.exceptions import ConfigInvalidError
from datapunk_broker.models import DeadLetter, SettledDelivery, Subscription, Topic
from datapunk_broker.states import FailureReason, Settled
from tests.engine.make import (
    balanced,
    died,
    make_subscription,
    make_topic,
    published,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def topic() -> Topic:
    return make_topic()


@pytest.fixture
def billing(topic: Topic) -> Subscription:
    return make_subscription(topic)


def redriven(dead_letters: Chosen, **options: Any) -> Redriven:
    return redrive(dead_letters, using="default", **options)


def test_a_querysets_own_limits_are_respected(topic: Topic, billing: Subscription) -> None:
    dead = died(billing, published(topic, *range(4)))
    assert redriven(DeadLetter.objects.filter(pk=dead[2].pk)).count == 1
    newest = DeadLetter.objects.open().order_by("-pk")[:2]
    assert redriven(newest).message_ids == (dead[1].message_id, dead[3].message_id)
    assert list(DeadLetter.objects.open().values_list("pk", flat=True)) == [dead[0].pk]


def test_a_filter_holds_every_condition_at_once(topic: Topic) -> None:
    billing, other = make_subscription(topic), make_subscription(topic, "other")
    messages = published(topic, *range(3))
    now = timezone.now()
    old, _, rejected = (
        died(billing, [messages[0]], dead_at=now - timedelta(days=2))
        + died(billing, [messages[1]])
        + died(billing, [messages[2]], FailureReason.REJECTED)
    )
    died(other, messages)
    yesterday = now - timedelta(days=1)
    assert chosen({"subscription": "billing", "until": yesterday}, using="default") == [old.pk]
    recent = {"subscription": "billing", "since": yesterday, "reason": "rejected", "topic": "orders"}
    assert chosen(recent, using="default") == [rejected.pk]
    assert chosen({"ids": [rejected.pk, old.pk, 10**30], "reason": "rejected"}, using="default") == [rejected.pk]
    assert chosen({"topic": "elsewhere"}, using="default") == []
    assert len(chosen({}, using="default")) == 6
    assert chosen({"ids": []}, using="default") == []


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"subscripton": "billing"}, "Did you mean 'subscription'"),
        ({"reason": "rejcted"}, "Did you mean 'rejected'"),
        ({"subscription": None}, "must be a name"),
        ({"since": timezone.now().replace(tzinfo=None)}, "time zone"),
        ({"until": "yesterday"}, "time zone"),
        ({"ids": "12"}, "list of ids"),
        ({"ids": ["12"]}, "whole numbers"),
        ({"ids": [[]]}, "whole numbers"),
        (["billing"], "dict"),
    ],
)
def test_a_filter_that_is_not_understood_redrives_nothing(
    topic: Topic, billing: Subscription, given: Any, problem: str
) -> None:
    died(billing, published(topic, 1))
    with pytest.raises(ConfigInvalidError, match=problem):
        redriven(given)
    assert DeadLetter.objects.open().count() == 1


def test_discarding_deletes_the_dead_letter_and_keeps_the_history(topic: Topic, billing: Subscription) -> None:
    dead = died(billing, published(topic, 1, 2, 3))
    assert discard({"ids": [dead[0].pk]}, using="default") == 1
    assert discard(DeadLetter.objects.filter(pk=dead[1].pk), using="default") == 1
    assert list(DeadLetter.objects.values_list("pk", flat=True)) == [dead[2].pk]
    assert SettledDelivery.objects.filter(outcome=Settled.DEAD).count() == 3
    assert balanced()


def test_a_filter_discards_no_closed_dead_letter(topic: Topic, billing: Subscription) -> None:
    died(billing, published(topic, 1))
    redriven({})
    assert discard({}, using="default") == 0
    assert DeadLetter.objects.count() == 1
