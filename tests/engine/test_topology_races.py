"""Topics and subscriptions while others change them too, and while others publish."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from django.db import transaction

from datapunk_broker.engine.publish import publish
from datapunk_broker.engine.topology import (
    delete_topic,
    pause,
    update_subscription,
    update_topic,
)
from datapunk_broker.envelope import Outgoing
from datapunk_broker.exceptions import ConfigInvalidError, TooManySubscribersError, TopicNotFoundError
from datapunk_broker.models import Binding, Delivery, Subscription, Topic
from tests.engine.racing import LONGEST, Actors, wait_until_blocked
from tests.engine.verbs import USING, subscribe, topic

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def actors() -> Iterator[Actors]:
    with closing(Actors()) as actors:
        yield actors


def test_of_two_that_make_one_topic_the_second_is_refused_and_goes_on(actors: Actors) -> None:
    def make_and_go_on() -> str:
        with transaction.atomic():
            with pytest.raises(ConfigInvalidError) as refused:
                topic()
            topic("refunds")
        return refused.value.field

    with transaction.atomic():
        topic()
        second = actors.start(make_and_go_on)
        wait_until_blocked(second)
    assert second.result(LONGEST) == "name"
    assert sorted(Topic.objects.values_list("name", flat=True)) == ["orders", "refunds"]


def test_of_two_that_make_one_topic_the_second_wins_when_the_first_rolls_back(actors: Actors) -> None:
    with transaction.atomic():
        topic(type="direct")
        second = actors.start(topic)
        wait_until_blocked(second)
        transaction.set_rollback(True)
    assert second.result(LONGEST).type == "fanout"
    assert Topic.objects.count() == 1


def test_of_two_that_take_one_subscription_name_on_two_topics_one_wins(actors: Actors) -> None:
    topic()
    topic("refunds")
    outcomes = actors.race(*(lambda to=to: subscribe(to=to) for to in ("orders", "refunds")))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ConfigInvalidError", "Subscription"]
    assert Subscription.objects.listed().count() == 1


def test_limit_of_subscribers_holds_when_many_ask_at_once(actors: Actors) -> None:
    topic(max_subscribers=3)
    outcomes = actors.race(*(lambda n=n: subscribe(f"s{n}") for n in range(8)))
    assert sum(isinstance(outcome, TooManySubscribersError) for outcome in outcomes) == 5
    assert Subscription.objects.listed().count() == 3


def test_limit_counts_who_came_while_one_waited(actors: Actors) -> None:
    topic(max_subscribers=1)
    with transaction.atomic():
        subscribe("first")
        second = actors.start(lambda: subscribe("second"))
        wait_until_blocked(second)
    assert isinstance(second.exception(LONGEST), TooManySubscribersError)


@pytest.mark.parametrize(
    "change",
    [
        lambda: subscribe("audit"),
        lambda: update_topic("orders", {"stream": False, "retention_hours": 3}, using=USING),
        lambda: update_subscription("billing", {"ordering": True}, using=USING),
        lambda: pause("billing", using=USING),
        lambda: delete_topic("orders", using=USING),
    ],
    ids=["subscribe", "update_topic", "update_subscription", "pause", "delete_topic"],
)
def test_publisher_waits_for_no_change(actors: Actors, change: Any) -> None:
    topic()
    subscribe()
    with transaction.atomic():
        change()
        published = actors.start(lambda: publish("orders", [Outgoing(1)], using=USING))
        [receipt] = published.result(LONGEST)
        assert receipt.deliveries == 1
    assert Delivery.objects.filter(subscription__name="billing").count() == 1


def test_no_change_waits_for_a_publisher(actors: Actors) -> None:
    topic()
    subscribe()
    with transaction.atomic():
        publish("orders", [Outgoing(1)], using=USING)
        assert actors.start(lambda: subscribe("audit")).result(LONGEST).name == "audit"
        actors.start(lambda: update_topic("orders", {"history": False}, using=USING)).result(LONGEST)
    [receipt] = publish("orders", [Outgoing(2)], using=USING)
    assert receipt.deliveries == 2


def test_two_sets_of_bindings_never_mix(actors: Actors) -> None:
    topic(type="topic")
    subscribe(bindings=[{"routing_key": "old"}])

    def bind(*patterns: str) -> Subscription:
        bindings = [{"routing_key": pattern} for pattern in patterns]
        return update_subscription("billing", {"bindings": bindings}, using=USING)

    with transaction.atomic():
        bind("eu.*", "us.*")
        second = actors.start(lambda: bind("uk.*"))
        wait_until_blocked(second)
    second.result(LONGEST)
    assert list(Binding.objects.values_list("routing_key", flat=True)) == ["uk.*"]


def test_change_that_waited_does_not_undo_the_one_it_waited_for(actors: Actors) -> None:
    topic()
    with transaction.atomic():
        update_topic("orders", {"retention_hours": 3}, using=USING)
        second = actors.start(lambda: update_topic("orders", {"max_subscribers": 7}, using=USING))
        wait_until_blocked(second)
    second.result(LONGEST)
    assert Topic.objects.values_list("retention_hours", "max_subscribers").get() == (3.0, 7)


def test_subscriber_that_waited_for_a_deletion_finds_no_topic(actors: Actors) -> None:
    topic()
    with transaction.atomic():
        delete_topic("orders", using=USING)
        late = actors.start(subscribe)
        wait_until_blocked(late)
    assert isinstance(late.exception(LONGEST), TopicNotFoundError)
    assert not Subscription.objects.live().exists()
