"""Pausing and resuming, and who is told of a change."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db.models import F
from django.db.models.functions import Now

from datapunk_broker.engine.topology import (
    delete_subscription,
    delete_topic,
    pause,
    resume,
    update_subscription,
    update_topic,
)
from datapunk_broker.models import Subscription
from datapunk_broker.states import SubscriptionState
from tests.engine.verbs import USING, listening, send, subscribe, topic

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("breaker", ["open", "half_open"])
def test_resume_closes_the_breaker(breaker: str, django_capture_on_commit_callbacks: Any) -> None:
    topic()
    made = subscribe()
    Subscription.objects.filter(pk=made.pk).update(
        breaker_state=breaker, breaker_failures=F("breaker_failures") + 4, breaker_until=Now()
    )
    with listening() as told, django_capture_on_commit_callbacks(execute=True):
        resumed = resume("billing", using=USING)
        assert not told
    assert (resumed.breaker_state, resumed.breaker_failures, resumed.breaker_until) == ("closed", 0, None)
    assert told == [
        {"topic": "orders", "using": USING},
        {"subscription": "billing", "state": "closed", "until": None, "using": USING},
    ]


def test_every_change_is_told_after_the_commit_and_no_change_is_not(
    django_capture_on_commit_callbacks: Any,
) -> None:
    def count(act: Callable[[], Any]) -> int:
        with listening() as told, django_capture_on_commit_callbacks(execute=True):
            act()
            assert not told
        return len(told)

    assert count(topic) == 1
    assert count(subscribe) == 1
    update = partial(update_topic, "orders", {"retention_hours": 1}, using=USING)
    assert [count(update) for _ in range(2)] == [1, 0]
    update = partial(update_subscription, "billing", {"timeout": 3}, using=USING)
    assert [count(update) for _ in range(2)] == [1, 0]
    assert [count(lambda: pause("billing", using=USING)) for _ in range(2)] == [1, 0]
    assert [count(lambda: resume("billing", using=USING)) for _ in range(2)] == [1, 0]
    assert count(lambda: delete_subscription("billing", using=USING)) == 1
    assert count(lambda: delete_topic("orders", using=USING)) == 1


def test_paused_subscription_goes_on_gathering() -> None:
    topic()
    subscribe()
    assert pause("billing", using=USING).state == SubscriptionState.PAUSED
    assert send().deliveries == 1
    assert resume("billing", using=USING).state == SubscriptionState.ACTIVE
    assert Subscription.objects.get(name="billing").state == SubscriptionState.ACTIVE


def test_resume_starts_what_the_broker_disabled() -> None:
    topic()
    made = subscribe()
    Subscription.objects.filter(pk=made.pk).update(state=SubscriptionState.DISABLED)
    assert resume("billing", using=USING).state == SubscriptionState.ACTIVE
