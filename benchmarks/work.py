"""The work itself: what is published, to whom, and how the tables are before it."""

import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import msgspec
from django.apps import apps
from django.db import connection

from benchmarks.models import Done, Message
from benchmarks.stage import Stage
from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.models import Subscription

TOPIC = "bench"
BATCH = 500
LETTERS = 1024
"""Of the JSON of each message."""

SIZES = {"one": 1_000, "batches": 20_000, "drain": 20_000, "effects": 5_000, "fan-out": 200, "latency": 2_000}
"""How many messages a measure takes."""

Way = Callable[[Stage], float]
"""One way to do a piece of work: it does it, and returns its figure."""

_random = Random(7)  # noqa: S311 - nothing is secret here
_PADS = [b64encode(_random.randbytes(LETTERS)).decode() for _ in range(64)]
"""Text as little compressible as text can be."""


def payload(number: int) -> dict[str, Any]:
    """Return a message of a kilobyte."""
    head = {"id": number, "text": ""}
    return {**head, "text": _PADS[number % len(_PADS)][: LETTERS - len(msgspec.json.encode(head))]}


def batches_of(count: int) -> list[list[dict[str, Any]]]:
    """Return so many messages in batches."""
    return [[payload(number) for number in range(at, min(at + BATCH, count))] for at in range(0, count, BATCH)]


def seconds(act: Callable[[], object]) -> float:
    """Return how long it takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


@contextmanager
def topic(subscribers: int = 1, handler: str = "count", **options: Any) -> Iterator[tuple[int, list[int]]]:
    """Make the topic with so many subscriptions, paused; what they hold goes with them."""
    made = broker.create_topic(TopicConfig(TOPIC, stream=False))
    for number in range(subscribers):
        name, path = f"s-{number}of{subscribers}", f"benchmarks.handlers:{handler}"
        broker.create_subscription(SubscriptionConfig(name, TOPIC, handler=path, timeout=5, **options))
    Subscription.objects.update(state="paused")
    ids = list(Subscription.objects.order_by("pk").values_list("pk", flat=True))
    try:
        yield made.pk, ids
    finally:
        clear()


def clear() -> None:
    """Leave every table empty, as a table is that was vacuumed."""
    models = [*apps.get_app_config("datapunk_broker").get_models(), Message, Done]
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(model._meta.db_table for model in models)} CASCADE")
        cursor.execute("CHECKPOINT")


def start(subscribers: int) -> None:
    """Let the subscriptions flow: the last one rings for all."""
    last = f"s-{subscribers - 1}of{subscribers}"
    Subscription.objects.exclude(name=last).update(state="active")
    broker.resume(last)


def fill(count: int) -> None:
    """Publish so many messages in batches."""
    for batch in batches_of(count):
        broker.publish_many(TOPIC, [broker.Outgoing(one) for one in batch])
    vacuum()


def vacuum() -> None:
    """Let the tables be as they are a minute after they were filled."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE datapunk_broker_delivery, datapunk_broker_message")
