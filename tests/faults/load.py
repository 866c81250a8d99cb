"""Messages that flow while something breaks: who publishes, who is subscribed, and what came of it."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from django.db import Error, connection

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.models import DeadLetter, Delivery, Message, SettledDelivery, Subscription
from datapunk_broker.states import DeliveryMode, Settled, SubscriptionMode, Transport
from tests.faults.effects import left
from tests.faults.endpoint import Endpoint, serving
from tests.faults.history import Published, Said, Verdict, judge
from tests.faults.publisher import read
from tests.faults.readers import Puller, Watcher
from tests.faults.shop.models import Effect
from tests.faults.stand import ROOT, Stand

PUBLISHERS = 2
APART = 1_000_000
"""Between the first numbers of two publishers."""

DRAIN_WITHIN = 90.0
LEASE = 3.0

HANDLERS = "tests.faults.shop.subscribers:"

COMMON: Mapping[str, Any] = {
    "ack_deadline": LEASE,
    "timeout": 1.0,
    "max_attempts": 50,
    "retry_strategy": "fixed",
    "retry_delay": 0.2,
}

RECORD: Mapping[str, Any] = {"handler": f"{HANDLERS}record"}

KINDS: Mapping[str, Mapping[str, Any]] = {
    "exactly": {**RECORD, "delivery_mode": DeliveryMode.EXACTLY_ONCE},
    "least": {**RECORD, "delivery_mode": DeliveryMode.AT_LEAST_ONCE},
    "most": {**RECORD, "delivery_mode": DeliveryMode.AT_MOST_ONCE},
    "ordered": {**RECORD, "ordering": True},
    "batch": {"mode": SubscriptionMode.BATCH, "batch_size": 10, "handler": f"{HANDLERS}record_batch"},
    "pull": {"transport": Transport.PULL},
    "hook": {"transport": Transport.WEBHOOK},
    "hook-once": {"transport": Transport.WEBHOOK, "delivery_mode": DeliveryMode.AT_MOST_ONCE},
}
STREAM = "stream"

ORDERED = ("ordered",)
"""The kinds that promise the order of each key."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a drill found out about one of its subscriptions. dead: dead letters, each of which was meant to die."""

    kind: str
    verdict: Verdict
    dead: int


class Load:
    """The topic of one drill, its subscriptions and its publishers."""

    def __init__(self, stand: Stand, name: str, seed: int, rate: float = 50.0) -> None:
        self.stand, self.name, self.seed, self.rate = stand, name, seed, rate
        self.endpoint: Endpoint | None = None
        self._publishers: list[subprocess.Popen[bytes]] = []
        self._logs = [stand.folder / f"{name}-{number}.log" for number in range(PUBLISHERS)]
        self._ours: list[Published] = []
        self._next = APART * PUBLISHERS

    def prepare(self, **more: Any) -> None:
        """Make the topic and its subscriptions."""
        broker.create_topic(TopicConfig(self.name))
        for kind in KINDS:
            self.subscribe(kind, kind, **more)

    def subscribe(self, name: str, kind: str = "least", **more: Any) -> str:
        """Make one subscription; its whole name is returned."""
        name = f"{self.name}.{name}"
        options = {**COMMON, **KINDS[kind], **more}
        if options.get("transport") == Transport.WEBHOOK:
            options["endpoint_url"] = f"http://127.0.0.1:{self.stand.hook_port}/{name}"
        broker.create_subscription(SubscriptionConfig(name, self.name, **options))
        return name

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Pull, watch and serve webhooks meanwhile, and until all there is has been read."""
        effects = self.stand.effects
        watcher = Watcher(self.name, f"{self.name}.{STREAM}", effects, self.stand.web_port)
        hooked = serving(self.stand.hook_port, effects)
        with Puller(f"{self.name}.pull", effects) as puller, watcher, hooked as self.endpoint:
            yield
            wait_for(lambda: watcher.has_caught_up, "the stream is read to its end", DRAIN_WITHIN)
        assert not [*puller.failures, *watcher.failures]

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Publish meanwhile."""
        for number, log in enumerate(self._logs):
            log.touch()
            arguments = (self.name, number * APART, self.rate, self.seed * PUBLISHERS + number, log)
            command = [sys.executable, "-W", "ignore", "-m", "tests.faults.publisher", *map(str, arguments)]
            through = os.environ | {"DATABASE_URL": self.stand.publishers_url}
            self._publishers.append(subprocess.Popen(command, cwd=ROOT, env=through))
        wait_for(lambda: all(log.stat().st_size for log in self._logs), "a publisher publishes")
        try:
            yield
        finally:
            codes = [self._end(publisher) for publisher in self._publishers]
        assert codes == [0] * PUBLISHERS, codes

    def publish(self, *asked: str) -> None:
        """Publish messages that tell their handlers to misbehave."""
        messages = []
        for do in asked:
            self._ours.append(Published(self._next, Said.ACKNOWLEDGED, "ours"))
            messages.append(broker.Outgoing({"number": self._next, "do": do}, ordering_key="ours"))
            self._next += 1
        broker.publish_many(self.name, messages)

    def published(self) -> list[Published]:
        """Return what everybody published."""
        return [*self._ours, *(message for log in self._logs if log.exists() for message in read(log))]

    def drain(self, *, since: float) -> float:
        """Wait until nothing waits that was published; return the seconds since then."""
        wait_for(lambda: not self.waiting(), f"{self.name} is drained", DRAIN_WITHIN, self.waiting)
        return time.monotonic() - since

    def waiting(self) -> int:
        subscriptions = Subscription.objects.filter(topic__name=self.name, deleted_at=None)
        return Delivery.objects.filter(subscription__in=subscriptions).count()

    def rows(self) -> list[Row]:
        """Judge each subscription, and the stream."""
        published = self.published()
        return [self._row(kind, published) for kind in (*KINDS, STREAM)]

    def _row(self, kind: str, published: Sequence[Published]) -> Row:
        name = f"{self.name}.{kind}"
        dead = numbers_of(DeadLetter.objects.filter(subscription__name=name).values_list("message", flat=True))
        spent = set(dead)
        if KINDS.get(kind, {}).get("delivery_mode") == DeliveryMode.AT_MOST_ONCE:
            acked = SettledDelivery.objects.filter(subscription__name=name, outcome=Settled.ACKED)
            spent |= numbers_of(acked.values_list("message", flat=True))
        effects = rows_of(name) if kind == "exactly" else self._lines_of(name)
        if kind not in ORDERED:
            published = [Published(message.number, message.said, str(message.number)) for message in published]
        return Row(kind, judge(published, effects, spent=spent), len(dead))

    def _lines_of(self, name: str) -> list[int]:
        return [number for subscription, number in left(self.stand.effects) if subscription == name]

    @staticmethod
    def _end(publisher: subprocess.Popen[bytes]) -> int:
        publisher.terminate()
        return publisher.wait(30)


def rows_of(subscription: str) -> list[int]:
    """Return the numbers of the effects in the table."""
    return list(Effect.objects.filter(subscription=subscription).order_by("pk").values_list("number", flat=True))


def numbers_of(messages: Iterable[Any]) -> set[int]:
    """Return the numbers in these messages' bodies."""
    bodies = Message.objects.filter(pk__in=list(messages)).values_list("body", flat=True)
    return {json.loads(bytes(body))["number"] for body in bodies}


def wait(seconds: float) -> None:
    """Let time pass: a fault takes its time."""
    threading.Event().wait(seconds)


def wait_for(look: Any, what: str, seconds: float = 60.0, found: Any = lambda: "") -> None:
    """Look until it is so; the database may be away meanwhile. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while True:
        try:
            if look():
                return
        except (Error, psycopg.Error):
            connection.close()
        if time.monotonic() > end:
            raise TimeoutError(f"It is not so after {seconds:.0f} s that {what}. {found()}")
        wait(0.05)
