from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from datapunk_broker.engine import letters
from datapunk_broker.engine import redrive as redrive_engine
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


def ids(dead_letters: Chosen) -> list[int]:
    return [pk for page in chosen(dead_letters, using="default").pages() for pk in page]


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
    assert ids({"subscription": "billing", "until": yesterday}) == [old.pk]
    recent = {"subscription": "billing", "since": yesterday, "reason": "rejected", "topic": "orders"}
    assert ids(recent) == [rejected.pk]
    assert ids({"ids": [rejected.pk, old.pk, 10**30], "reason": "rejected"}) == [rejected.pk]
    assert ids({"topic": "elsewhere"}) == []
    assert len(ids({})) == 6
    assert ids({"ids": []}) == []


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


def test_they_are_read_page_by_page_and_none_that_dies_meanwhile_joins(
    topic: Topic, billing: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "BATCH", 2)
    *messages, late = published(topic, *range(6))
    dead = died(billing, messages)
    seen: list[int] = []

    def progress(looked_at: int) -> None:
        if not seen:
            died(billing, [late])
        seen.append(looked_at)

    with CaptureQueriesContext(connection) as queries:
        done = redriven(DeadLetter.objects.open(), progress=progress)
    assert (done.count, seen) == (5, [2, 4, 5])
    assert done.message_ids == tuple(letter.message_id for letter in dead)
    asked = [q["sql"] for q in queries if q["sql"].startswith('SELECT "datapunk_broker_deadletter"."id" AS "pk" FROM')]
    assert len([sql for sql in asked if sql.endswith("LIMIT 2")]) == 4, asked


def test_it_names_no_more_of_them_than_fit_in_an_answer(
    topic: Topic, billing: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redrive_engine, "NAMED", 2)
    died(billing, published(topic, *range(5)))
    done = redriven({})
    assert (done.count, len(done.message_ids)) == (5, 2)
