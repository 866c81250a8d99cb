"""What is called with each message: as little as can be, so that the broker is measured."""

from typing import Any

from benchmarks.models import Done
from benchmarks.sink import hit
from datapunk_broker import broker

SUBSCRIPTIONS = 1_000_000
"""The number of a call is the message's, and for fan-out the subscription's: both from the payload and its name."""


def count(message: broker.Received[Any]) -> None:
    """Leave that it was called."""
    hit(message.payload["id"])


def write(message: broker.Received[Any]) -> None:
    """Leave a row, and that it was called."""
    Done.objects.create(number=message.payload["id"])
    hit(message.payload["id"])


def count_each(message: broker.Received[Any]) -> None:
    """Leave that it was called for this one of many subscriptions, whose name ends with its number."""
    number, width = message.subscription.rpartition("-")[2].split("of")
    hit(message.payload["id"] * int(width) + int(number))
