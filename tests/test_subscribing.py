"""Subscribing at run time goes with the caller's transaction: the row, and the function with it."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from django.db import connections, transaction

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.exceptions import ConfigInvalidError, SubscriptionNotFoundError
from datapunk_broker.models import Subscription
from datapunk_broker.registry import registry
from datapunk_broker.testing import drain
from tests.engine.racing import LONGEST, Actors

pytestmark = pytest.mark.django_db(transaction=True)


def bill(message: broker.Received[Any]) -> None: ...


def other(message: broker.Received[Any]) -> None: ...


@pytest.fixture(autouse=True)
def topic() -> Iterator[None]:
    known = set(registry.names())
    broker.create_topic(TopicConfig("orders", stream=False))
    yield
    for name in set(registry.names()) - known:
        registry.remove(name)


def served() -> Any:
    """The function that this process calls for "billing"."""
    handler = registry.find("billing")
    return handler and handler.function


def test_a_function_is_there_at_once_where_no_transaction_is_open() -> None:
    broker.subscribe("orders", bill, "billing")
    assert served() is bill


def test_after_a_rollback_nothing_is_left_of_it_and_no_sync_makes_it_anew() -> None:
    with transaction.atomic():
        broker.subscribe("orders", bill, "billing")
        transaction.set_rollback(True)
    assert served() is None
    assert "billing" not in registry.names()
    broker.sync()
    assert not Subscription.objects.filter(name="billing").exists()
    broker.subscribe("orders", other, "billing")
    assert served() is other


def test_a_savepoint_takes_back_what_was_subscribed_in_it_alone() -> None:
    with transaction.atomic():
        broker.subscribe("orders", bill, "billing")
        with transaction.atomic():
            broker.subscribe("orders", other, "audit")
            transaction.set_rollback(True)
    assert served() is bill
    assert registry.find("audit") is None


def test_its_own_transaction_delivers_to_it_before_the_commit() -> None:
    got: list[object] = []
    with transaction.atomic():
        broker.subscribe("orders", lambda message: got.append(message.payload), "billing")
        broker.publish("orders", 7)
        drain()
        transaction.set_rollback(True)
    assert got == [7]


@pytest.mark.postgresql
def test_others_do_not_know_it_before_the_commit() -> None:
    with closing(Actors()) as actors:
        with transaction.atomic():
            broker.subscribe("orders", bill, "billing")
            assert actors.start(served).result(LONGEST) is None
        assert actors.start(served).result(LONGEST) is bill


def test_what_was_subscribed_is_not_declared() -> None:
    broker.subscribe("orders", bill, "billing")
    assert "billing" not in [config.name for config in registry.declared()]
    broker.delete_subscription("billing")
    broker.sync()
    with pytest.raises(SubscriptionNotFoundError):
        broker.pause("billing")


def test_unsubscribing_forgets_the_function_with_the_commit_and_not_before() -> None:
    broker.subscribe("orders", bill, "billing")
    with transaction.atomic():
        broker.unsubscribe("billing")
        transaction.set_rollback(True)
    assert served() is bill
    broker.unsubscribe("billing")
    assert served() is None


def test_another_function_takes_over_a_name_in_one_transaction() -> None:
    broker.subscribe("orders", bill, "billing")
    with transaction.atomic():
        broker.unsubscribe("billing")
        broker.subscribe("orders", other, "billing")
        assert served() is other
    assert served() is other
    assert not connections["default"].run_on_commit


def test_nobody_reaches_a_handler_through_a_subscription_of_another_topic() -> None:
    broker.subscribe("orders", bill, "billing")
    broker.delete_subscription("billing")
    broker.create_topic(TopicConfig("people", stream=False))
    with pytest.raises(ConfigInvalidError, match="is subscribed to 'orders'; take another name"):
        broker.create_subscription(SubscriptionConfig("billing", "people"))
    assert not Subscription.objects.live().filter(name="billing").exists()
