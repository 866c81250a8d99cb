"""Ways to drain, and how long a message takes that finds nobody before it."""

import threading
import time
from statistics import quantiles
from typing import Any

import msgspec

from benchmarks import raw
from benchmarks.sink import rate
from benchmarks.stage import PROCESSES, Stage
from benchmarks.work import SIZES, TOPIC, Way, batches_of, fill, payload, start, topic, vacuum
from datapunk_broker import broker

PER_SECOND = 200


def drain(size: str = "drain", subscribers: int = 1, handler: str = "count", **options: Any) -> Way:
    """Publish, then let a worker of two processes drain it; from the first call to the last."""

    def way(stage: Stage) -> float:
        sink = stage.sink(SIZES[size] * subscribers)
        with topic(subscribers, handler, **options):
            fill(SIZES[size])
            with stage.worker():
                start(subscribers)
                return rate(sink.wait())

    return way


def drain_raw(size: str = "drain", subscribers: int = 1) -> Way:
    def way(stage: Stage) -> float:
        sink = stage.sink(SIZES[size] * subscribers)
        with topic(subscribers) as (made, subscriptions):
            with raw.connect() as database:
                for batch in batches_of(SIZES[size]):
                    raw.publish_batch(database, made, subscriptions, [msgspec.json.encode(one) for one in batch])
            vacuum()
            with raw.drainers(subscriptions, PROCESSES):
                return rate(sink.wait())

    return way


def latency(part: int) -> Way:
    """Publish so many a second, and return after how many milliseconds so many of a hundred were called."""

    def way(stage: Stage) -> float:
        sink, pause = stage.sink(SIZES["latency"]), threading.Event()
        with topic(), stage.worker():
            start(1)
            began, published = time.monotonic() + 1, []
            for number in range(SIZES["latency"]):
                pause.wait(max(0.0, began + number / PER_SECOND - time.monotonic()))
                published.append(time.monotonic())
                broker.publish(TOPIC, payload(number))
            took = [called - at for at, called in zip(published, sink.wait(), strict=True)]
        return quantiles(took, n=100)[part - 1] * 1000

    return way
