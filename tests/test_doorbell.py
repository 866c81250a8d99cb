"""The doorbell: after a commit it rings through Celery, and no publisher ever waits for it or hears of it."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction
from redis import Redis

from datapunk_broker import broker, tasks
from datapunk_broker import doorbell as front
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.doorbell import Doorbell
from datapunk_broker.queues import HANDLER, QUEUES, STREAM
from datapunk_broker.states import Transport
from tests.servers.plugin import ROOT
from tests.shop.celery import app

SOON = 20.0
"""Seconds after which what should have left this process is taken to hang."""

SECRET = "s3cr3t"
NOWHERE = f"redis://:{SECRET}@127.0.0.1:1/0"

committed = pytest.mark.django_db(transaction=True)


@pytest.fixture
def redis() -> Iterator[Redis]:
    with Redis.from_url(settings.REDIS_URL, decode_responses=True) as client:
        client.delete(*QUEUES)
        yield client
        client.delete(*QUEUES)


@pytest.fixture
def doorbell(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Doorbell]:
    bell = Doorbell()
    monkeypatch.setattr(front, "doorbell", bell)
    yield bell
    assert bell.wait(SOON)


@pytest.fixture
def orders(transactional_db: None) -> None:
    broker.create_topic(TopicConfig("orders", stream=False))
    broker.create_subscription(SubscriptionConfig("billing", "orders", handler="tests.shop.subscribers:bill"))


@contextmanager
def celery_broker_at(url: str) -> Iterator[None]:
    before = app.conf.broker_write_url
    app.conf.update(broker_write_url=url)
    tasks.forget_connections()
    try:
        yield
    finally:
        app.conf.update(broker_write_url=before)
        tasks.forget_connections()


@contextmanager
def deaf_celery_broker() -> Iterator[socket.socket]:
    """It takes connections and never says a word, until it is closed."""
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, celery_broker_at(f"redis://127.0.0.1:{listener.getsockname()[1]}"):
        yield listener


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    records = [record for record in caplog.records if record.name == "datapunk_broker.doorbell"]
    return [f"{record.getMessage()} {record.broker}" for record in records if record.levelname == "WARNING"]  # type: ignore[attr-defined]


@committed
def test_a_commit_rings_for_the_transports_that_have_work(doorbell: Doorbell, redis: Redis, orders: None) -> None:
    broker.create_topic(TopicConfig("ticks"))
    broker.publish("ticks", 1)
    assert doorbell.wait(SOON)
    assert [redis.llen(queue) for queue in (HANDLER, STREAM)] == [0, 1]
    broker.publish("orders", 1)
    assert doorbell.wait(SOON)
    assert [redis.llen(queue) for queue in (HANDLER, STREAM)] == [1, 1]


@committed
def test_rings_that_follow_each_other_closely_are_one(doorbell: Doorbell, redis: Redis, orders: None) -> None:
    for number in range(20):
        broker.publish("orders", number)
    assert doorbell.wait(SOON)
    assert redis.llen(HANDLER) == 1


def test_after_a_while_it_rings_again(doorbell: Doorbell, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "RING_EVERY", 0.0)
    for _ in range(3):
        doorbell.ring(Transport.HANDLER)
        assert doorbell.wait(SOON)
    assert redis.llen(HANDLER) == 3


@committed
def test_it_rings_after_the_commit_and_only_then(doorbell: Doorbell, redis: Redis, orders: None) -> None:
    with transaction.atomic():
        broker.publish("orders", 1)
        assert doorbell.wait(SOON)
        assert redis.llen(HANDLER) == 0
        transaction.set_rollback(True)
    assert doorbell.wait(SOON)
    assert redis.llen(HANDLER) == 0


@committed
def test_nobody_rings_for_those_who_pull(doorbell: Doorbell, redis: Redis, orders: None) -> None:
    broker.delete_subscription("billing")
    broker.create_subscription(SubscriptionConfig("audit", "orders", transport=Transport.PULL))
    broker.publish("orders", 1)
    assert doorbell.wait(SOON)
    assert [redis.llen(queue) for queue in QUEUES] == [0] * len(QUEUES)


@committed
def test_while_celerys_broker_is_away_publishing_goes_on_and_the_sweep_rings_later(
    doorbell: Doorbell, redis: Redis, orders: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "RING_EVERY", 0.0)
    caplog.set_level("INFO", logger="datapunk_broker.doorbell")
    with celery_broker_at(NOWHERE):
        for _ in range(3):
            broker.publish("orders", {"card": SECRET})
            assert doorbell.wait(SOON)
    [line] = warnings_in(caplog)  # one for all three
    assert "the sweep will find what is due" in line
    assert "OperationalError" in line
    assert SECRET not in line
    assert redis.llen(HANDLER) == 0

    tasks.sweep()
    assert redis.llen(HANDLER) == 1
    doorbell.ring(Transport.HANDLER)
    assert doorbell.wait(SOON)
    assert "takes wake-ups again" in caplog.text


@committed
def test_a_publisher_does_not_wait_for_a_celery_broker_that_hangs(
    doorbell: Doorbell, redis: Redis, orders: None
) -> None:
    with deaf_celery_broker() as deaf:
        receipt = broker.publish("orders", 1)
        assert receipt.deliveries == 1
        assert doorbell.wait(0.1) is False  # the ring is still on its way, and nobody waits for it
        deaf.close()
        assert doorbell.wait(SOON)


def test_messages_that_are_stored_nowhere_and_cannot_be_sent_are_lost_and_counted(
    doorbell: Doorbell, redis: Redis, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "MOST_WAITING", 5)
    with deaf_celery_broker() as deaf:
        for number in range(8):
            doorbell.hand_over({"id": number, "topic": "ticks", "body": SECRET})
        deaf.close()
        assert doorbell.wait(SOON)
    lines = warnings_in(caplog)
    assert len([line for line in lines if "too many wait" in line and "ticks" in line]) == 3
    assert len([line for line in lines if "'count': 5" in line]) == 1
    assert SECRET not in "".join(lines)


def test_a_message_that_is_stored_nowhere_is_given_to_a_worker(doorbell: Doorbell, redis: Redis) -> None:
    doorbell.hand_over({"id": "1", "topic": "ticks"})
    assert doorbell.wait(SOON)
    assert redis.llen(HANDLER) == 1


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_rings_too_and_leaves_its_parents_connections_alone(doorbell: Doorbell, redis: Redis) -> None:
    doorbell.ring(Transport.HANDLER)
    assert doorbell.wait(SOON)
    child = os.fork()
    if child == 0:
        doorbell.after_fork()  # the process's own bell is told by os.register_at_fork
        doorbell.ring(Transport.STREAM)
        os._exit(0 if doorbell.wait(SOON) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [redis.llen(queue) for queue in (HANDLER, STREAM)] == [1, 1]
    doorbell.hand_over({"id": "1", "topic": "ticks"})
    assert doorbell.wait(SOON)
    assert redis.llen(HANDLER) == 2


def test_a_process_that_ends_at_once_has_rung_all_the_same(redis: Redis) -> None:
    script = "import django; django.setup(); from datapunk_broker.doorbell import doorbell; doorbell.ring('handler')"
    environment: dict[str, Any] = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, check=True, timeout=60)
    assert redis.llen(HANDLER) == 1
