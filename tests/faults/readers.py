"""Subscribers that are not handlers: one pulls, one watches the topic's stream over WebSocket."""

import threading
from abc import abstractmethod
from pathlib import Path
from typing import Any, Self

from django.contrib.auth.models import User
from django.db import Error, connection
from rest_framework.authtoken.models import Token
from websockets.exceptions import WebSocketException

from datapunk_broker import broker
from datapunk_broker.models import StreamHead
from tests.consumers.client import connected
from tests.faults.effects import leave

PULLED_AT_ONCE = 50
PAUSE = 0.1
CREDIT = 1_000


class Reader(threading.Thread):
    """Reads until it is told to end, whatever breaks meanwhile, and appends a line for each effect."""

    def __init__(self, name: str, effects: Path) -> None:
        super().__init__(daemon=True)
        self.subscription, self._effects = name, effects
        self._ended = threading.Event()
        self.failures: list[BaseException] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        try:
            while not self._ended.is_set():
                try:
                    self.read()
                except (Error, OSError, WebSocketException, TimeoutError):
                    connection.close()
                    self._ended.wait(PAUSE)
        except BaseException as error:
            self.failures.append(error)
            raise
        finally:
            connection.close()

    @abstractmethod
    def read(self) -> None:
        """Read some."""

    def note(self, payload: Any) -> None:
        """Leave the effect of one message."""
        leave(self._effects, self.subscription, payload["number"])


class Puller(Reader):
    """Pulls, leaves the effects, and acks."""

    def read(self) -> None:
        messages = broker.pull(self.subscription, PULLED_AT_ONCE)
        for message in messages:
            self.note(message.payload)
        if messages:
            broker.ack([message.ack_id for message in messages])
        else:
            self._ended.wait(PAUSE)


class Watcher(Reader):
    """Watches a topic's stream, and goes on behind the last position that it saw."""

    def __init__(self, topic: str, name: str, effects: Path, port: int) -> None:
        super().__init__(name, effects)
        user, _ = User.objects.get_or_create(username="watcher", defaults={"is_superuser": True})
        self.topic, self.seen = topic, 0
        self._url, self._token = f"ws://127.0.0.1:{port}/ws/broker/", Token.objects.get_or_create(user=user)[0].key

    @property
    def has_caught_up(self) -> bool:
        """Whether it has seen all there is."""
        return self.seen == (StreamHead.objects.values_list("position", flat=True).get(topic__name=self.topic))

    def read(self) -> None:
        with connected(self._url, self._token) as client:
            client.subscribe(self.topic, credit=CREDIT, **{"from": {"position": self.seen}})
            heard = 0
            while not self._ended.is_set():
                try:
                    frame = client.hear(patience=PAUSE)
                except TimeoutError:
                    continue
                if frame["type"] not in ("messages", "caught_up"):
                    raise OSError(frame)
                for item in frame.get("items", []):
                    if item["previous"] != self.seen:
                        raise AssertionError(f"{item} comes after {self.seen}")
                    self.note(item["payload"])
                    self.seen = item["position"]
                heard += len(frame.get("items", []))
                client.say("credit", sid="s", limit=CREDIT + heard)
