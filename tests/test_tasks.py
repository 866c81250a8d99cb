"""The tasks, in real Celery workers: what is committed is delivered, whatever becomes of the rings and the workers."""

import os
import signal
import time
from typing import Any

import pytest
from celery import Celery
from celery.beat import Scheduler
from django.test import override_settings

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.doorbell import Doorbell
from datapunk_broker.exceptions import ConfigInvalidError
from datapunk_broker.models import Delivery, SettledDelivery
from datapunk_broker.queues import MAINTENANCE, QUEUES, beat_schedule
from tests.shop.models import Effect
from tests.shop.worker import end, until, worker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def orders(empty_queues: None) -> None:
    broker.create_topic(TopicConfig("orders", stream=False))


def subscribe(handler: str, name: str = "billing", **options: Any) -> None:
    path = f"tests.shop.subscribers:{handler}" if handler else ""
    broker.create_subscription(SubscriptionConfig(name, "orders", handler=path, **options))


def publish(*payloads: int) -> None:
    broker.publish_many("orders", [broker.Outgoing(payload) for payload in payloads])


def effects() -> list[int]:
    return sorted(Effect.objects.values_list("value", flat=True))


def acked() -> int:
    return SettledDelivery.objects.filter(outcome="acked").count()


def test_what_is_published_is_delivered_by_a_worker(orders: None) -> None:
    subscribe("bill")
    subscribe("", "declared")  # by its name: the worker has discovered it
    broker.create_topic(TopicConfig("ticks", persistent=False))
    broker.create_subscription(SubscriptionConfig("watch", "ticks", handler="tests.shop.subscribers:bill"))
    with worker() as process:  # no beat: the ring alone brings it
        publish(1, 2)
        until(lambda: acked() == 4, process)
        publish(3)
        until(lambda: acked() == 6, process)
        broker.publish("ticks", 4)
        until(lambda: Effect.objects.count() == 7, process)
    assert effects() == [-3, -2, -1, 1, 2, 3, 4]
    assert os.getpid() not in set(Effect.objects.values_list("pid", flat=True))
    assert all(line.ok and not line.pending for line in broker.audit())


def test_what_nobody_rang_for_is_found_by_the_sweep_that_beat_starts(
    orders: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Doorbell, "ring", lambda *_: None)
    subscribe("bill")
    with worker("--beat") as process:
        publish(1)
        until(lambda: acked() == 1, process)
    assert effects() == [1]


def test_a_worker_that_is_killed_in_the_middle_leaves_effects_that_are_there_once(orders: None) -> None:
    subscribe("bill_and_die", delivery_mode="exactly_once", ack_deadline=1, timeout=1)
    publish(*range(8))
    with worker("--beat") as process:
        until(lambda: acked() == 8, process)
    assert effects() == list(range(8))


def test_a_worker_that_is_asked_to_end_acks_what_it_has_done_and_gives_back_the_rest(orders: None) -> None:
    subscribe("bill_slowly")
    publish(*range(400))
    with worker("--beat") as process:
        until(lambda: acked() > 3, process)
        end(process, signal.SIGTERM)
    assert set(Delivery.objects.values_list("state", "lapses")) == {("ready", 0)}
    assert Effect.objects.count() == acked() == 400 - Delivery.objects.count()


def test_a_worker_that_is_asked_to_end_starts_no_further_call_in_a_round_of_many(orders: None) -> None:
    for number in range(60):
        subscribe("bill_at_leisure", f"billing-{number}")
    publish(1)
    with worker("--beat") as process:
        until(Effect.objects.exists, process)
        began = time.monotonic()
        end(process, signal.SIGTERM)
        took = time.monotonic() - began
    assert Effect.objects.count() == acked() < 20
    assert set(Delivery.objects.values_list("state", "lapses")) == {("ready", 0)}
    assert took < 10


def test_of_a_worker_that_is_told_to_end_at_once_others_get_the_rest(orders: None) -> None:
    subscribe("bill_slowly", ack_deadline=2, timeout=1)
    publish(*range(100))
    with worker("--beat") as process:
        until(lambda: acked() > 3, process)
        end(process, signal.SIGQUIT)
    assert 3 < acked() < 100
    with worker("--beat") as process:
        until(lambda: acked() == 100, process)
    assert set(effects()) == set(range(100))


def test_beat_sweeps_every_second_and_no_task_is_late_by_a_clock_that_is_half_a_minute_ahead() -> None:
    schedule = beat_schedule(cleanup_interval=600)
    assert {entry["options"]["queue"] for entry in schedule.values()} == {MAINTENANCE}
    assert schedule["datapunk_broker.sweep"]["schedule"] == 1.0
    assert schedule["datapunk_broker.prune"]["schedule"] == 600
    assert all(30 < entry["options"]["expires"] <= 3600 for entry in schedule.values())
    assert MAINTENANCE in QUEUES


def test_beat_prunes_as_often_as_the_settings_say() -> None:
    schedule = beat_schedule()  # as a settings module does, before anybody knows its CLEANUP_INTERVAL
    with override_settings(DATAPUNK_BROKER={"CLEANUP_INTERVAL": 1200}):
        scheduler = Scheduler(Celery("beat", set_as_current=False), lazy=True)
        scheduler.merge_inplace(schedule)
    assert scheduler.schedule["datapunk_broker.prune"].schedule.seconds == 1200


def test_an_interval_that_cannot_be_meant_is_named_when_beat_begins() -> None:
    schedule = beat_schedule()
    with override_settings(DATAPUNK_BROKER={"CLEANUP_INTERVAL": "abc"}), pytest.raises(ConfigInvalidError) as error:
        Scheduler(Celery("beat", set_as_current=False), lazy=True).merge_inplace(schedule)
    assert "CLEANUP_INTERVAL: must be seconds" in str(error.value)
