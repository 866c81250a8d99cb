"""Whether pumps are there is found out at the same cost, however much waits."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from datapunk_broker.models import Standby, Subscription
from datapunk_broker.observability.health import NotReadyError, ask_pumps
from datapunk_broker.states import Transport
from tests.engine.make import make_subscription, make_topic
from tests.engine.plans import CLAIMED, analyze, explained, fill, standing

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db]

MANY = 100_000
LONG_AGO = {"available_at": "now() - interval '1 hour'"}


@pytest.fixture(scope="module", autouse=True)
def _crowd(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    with standing(crowd, django_db_blocker):
        yield


def crowd() -> None:
    """For handlers, many of every kind, for long; for webhooks, many that are ready just now."""
    topic = make_topic()
    for name, columns in {
        "plain": LONG_AGO,
        "suspect": {"lapses": "1", **LONG_AGO},
        "ordered": {"ordering_key": "'key-' || i % 100", **LONG_AGO},
    }.items():
        fill(make_subscription(topic, name, transport=Transport.HANDLER), MANY, **columns)
    fill(make_subscription(topic, "pulled"), MANY, **LONG_AGO)
    fill(make_subscription(topic, "hooked", transport=Transport.WEBHOOK), MANY)
    analyze()


def stands_by(*transports: Transport) -> None:
    for transport in transports:
        Standby.objects.create(transport=transport, holder=uuid4(), until=timezone.now() + timedelta(minutes=1))


def stuck() -> list[str]:
    try:
        ask_pumps()
    except NotReadyError as error:
        found: list[str] = error.about["stuck"]
        return found
    return []


def test_a_backlog_without_a_pump_is_found_by_the_indexes_of_its_kinds() -> None:
    stands_by(Transport.WEBHOOK)
    found: list[str] = []
    plans = explained(lambda: found.extend(stuck()))
    assert found == [Transport.HANDLER]
    assert {index for plan in plans for index in plan.indexes} == {
        "broker_delivery_ready",
        "broker_delivery_suspect",
        "broker_delivery_ordered",
        "broker_delivery_lease",
    }
    assert sum(plan.rows_read for plan in plans) <= 10


@pytest.mark.parametrize("name", ["plain", "suspect", "ordered"])
def test_each_kind_alone_is_found(name: str) -> None:
    stands_by(Transport.WEBHOOK)
    Subscription.objects.exclude(name=name).update(state="paused")
    assert stuck() == [Transport.HANDLER]


def test_a_pump_that_is_busy_is_found_by_its_claims() -> None:
    stands_by(Transport.WEBHOOK)
    fill(Subscription.objects.get(name="plain"), 5, **CLAIMED)
    found: list[str] = []
    plans = explained(lambda: found.extend(stuck()))
    assert found == []
    assert sum(plan.rows_read for plan in plans) <= 10


def test_what_is_ready_for_a_pump_that_stands_by_is_not_looked_at() -> None:
    stands_by(Transport.HANDLER, Transport.WEBHOOK)
    plans = explained(ask_pumps)
    assert sum(plan.rows_read for plan in plans) == 0
