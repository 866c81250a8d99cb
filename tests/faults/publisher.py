"""A publisher in a process of its own, which writes down what it knows of each message.

``python -m tests.faults.publisher TOPIC FIRST RATE SEED LOG``: it publishes the numbers from FIRST on, some RATE a
second, one by one, in batches, within transactions, and in transactions that it rolls back, until it is told to end.
"""

import random
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import django
from django.db import Error, connection, transaction

from tests.faults.history import Published, Said

KEYS = 3
BATCH = 5


class RolledBackError(Exception):
    """The publisher's own change of mind."""


class Publisher:
    """Publishes numbers, each once, and writes a line before and a line after."""

    def __init__(self, topic: str, first: int, seed: int, log: TextIO) -> None:
        self.topic, self.next, self.log = topic, first, log
        self.first, self.draw = first, random.Random(seed)

    def publish(self) -> int:
        """Publish in one of the ways; return how many messages."""
        ways: Sequence[Callable[[list[int]], None]] = (self._plainly, self._with_business, self._and_change_its_mind)
        [way] = self.draw.choices(ways, weights=(6, 3, 1))
        numbers = [*range(self.next, self.next + self.draw.choice((1, 1, 1, BATCH)))]
        self.next += len(numbers)
        self._say("began", numbers)
        self._say(self._outcome_of(way, numbers), numbers)
        return len(numbers)

    def _outcome_of(self, way: Callable[[list[int]], None], numbers: list[int]) -> Said:
        from datapunk_broker.exceptions import BrokerError  # noqa: PLC0415 - Django is set up in main

        try:
            way(numbers)
        except (RolledBackError, BrokerError):
            return Said.FAILED
        except Error:
            with suppress(Error):
                connection.close()
            return Said.UNKNOWN
        return Said.ACKNOWLEDGED

    def _plainly(self, numbers: list[int]) -> None:
        from datapunk_broker import broker  # noqa: PLC0415

        broker.publish_many(
            self.topic,
            [broker.Outgoing({"number": n}, ordering_key=self.key_of(n)) for n in numbers],
        )

    def _with_business(self, numbers: list[int]) -> None:
        with transaction.atomic():
            self._plainly(numbers)
            threading.Event().wait(self.draw.uniform(0, 0.02))

    def _and_change_its_mind(self, numbers: list[int]) -> None:
        with transaction.atomic():
            self._plainly(numbers)
            raise RolledBackError

    def key_of(self, number: int) -> str:
        """Return the ordering key of a number: this publisher's own, so that its order is the publisher's."""
        return f"{self.first}-{number % KEYS}"

    def _say(self, word: str, numbers: list[int]) -> None:
        self.log.write("".join(f"{word} {number} {self.key_of(number)}\n" for number in numbers))
        self.log.flush()


def read(log: Path) -> list[Published]:
    """Return what a publisher wrote; what it had only begun when it ended, it does not know."""
    told: dict[int, Published] = {}
    for line in log.read_text().splitlines():
        word, number, key = line.split()
        said = Said.UNKNOWN if word == "began" else Said(word)
        told[int(number)] = Published(int(number), said, key)
    return [*told.values()]


def main(topic: str, first: str, rate: str, seed: str, log: str) -> None:
    django.setup()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with Path(log).open("a") as file:
        publisher = Publisher(topic, int(first), int(seed), file)
        published = 0
        while not ended.wait(published / float(rate)):
            published = publisher.publish()


if __name__ == "__main__":
    main(*sys.argv[1:])
