"""Follow a topic: its messages as they commit, in the order of its stream, one JSON object a line."""

import os
import sys
import threading
from base64 import b64encode
from typing import Any

import msgspec
from django.core.management.base import CommandError, CommandParser

from datapunk_broker import broker
from datapunk_broker.conf import get_config
from datapunk_broker.exceptions import ConfigInvalidError
from datapunk_broker.management.speaking import BrokerCommand, until_interrupted
from datapunk_broker.models import Topic

POLL = 0.1
"""Seconds between looks at a stream that has nothing new."""

PAGE = 100

FIELDS = (
    "position", "id", "topic", "routing_key", "headers", "priority", "ordering_key", "published_at", "correlation_id",
    "reply_to",
)  # fmt: skip


class Command(BrokerCommand):
    """It reads the database, and acks nothing."""

    help = "Print a topic's messages as they commit, one JSON object a line, until Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("topic")
        parser.add_argument(
            "--from",
            dest="start",
            default="latest",
            metavar="earliest|latest|N",
            help="Begin with the oldest that is kept, with the next (the default), or after the position N.",
        )
        parser.add_argument("--count", type=int, help="Stop after so many messages.")

    def handle(self, *, topic: str, start: str, count: int | None, **_: Any) -> None:
        after = self._after(topic, start)
        with until_interrupted():
            self.follow(topic, after, count)
        self.stdout.flush()

    def follow(self, topic: str, after: int, count: int | None = None) -> None:
        """Print what lies behind a position, so many messages or for ever."""
        idle = threading.Event()
        while count is None or count > 0:
            page = broker.read_stream(topic, after, PAGE if count is None else min(PAGE, count))
            if page.head < after:
                self._say(f"Position {after} is gone: {topic} was made anew, and begins at {page.oldest}.")
                after = page.oldest - 1
                continue
            if after + 1 < page.oldest:
                self._say(f"Positions {after + 1} to {page.oldest - 1} are no longer kept.")
                after = page.oldest - 1
            for message in page.messages:
                self._print(message)
                after = message.position
            if count is not None:
                count -= len(page.messages)
            if not page.messages:
                self.stdout.flush()
                idle.wait(POLL)

    def _after(self, topic: str, start: str) -> int:
        try:
            page = broker.read_stream(topic, 0, 1)
        except ConfigInvalidError as error:
            raise CommandError(way_out(topic)) from error
        if start in ("earliest", "latest"):
            return page.oldest - 1 if start == "earliest" else page.head
        if not (start.isascii() and start.isdigit()):
            raise CommandError(f"--from takes earliest, latest or a position, not {start!r}.")
        if int(start) > page.head:
            raise CommandError(f"{topic!r} ends at position {page.head}; {start} is not there yet.")
        return int(start)

    def _print(self, message: Any) -> None:
        try:
            self.stdout.write(line_of(message))
        except BrokenPipeError:
            # Whoever read has gone; without this the interpreter complains once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise KeyboardInterrupt from None

    def _say(self, text: str) -> None:
        self.stdout.flush()
        self.stderr.write(text)


def way_out(topic: str) -> str:
    """Return what to do about a topic that has no stream to read."""
    config = get_config()
    is_persistent = Topic.objects.using(config.database).live().get(name=topic).persistent
    if config.enable_persistence if is_persistent is None else is_persistent:
        return f"The stream of {topic!r} is off. Set stream=True: it then keeps what is published from there on."
    return f"{topic!r} stores no messages. Set persistent=True, or watch it by WebSocket or SSE as they come."


def line_of(message: Any) -> str:
    """Return a message of a stream as one line of JSON; its payload is the published text."""
    told: dict[str, Any] = {name: getattr(message, name) for name in FIELDS}
    if message.content_type == "application/json":
        # In JSON a line break stands between tokens alone, where a space means the same.
        told["payload"] = msgspec.Raw(message.body.replace(b"\n", b" ").replace(b"\r", b" "))
    else:
        told["content_type"] = message.content_type
        try:
            told["payload"] = message.body.decode()
        except UnicodeDecodeError:
            told["payload_base64"] = b64encode(message.body).decode()
    return msgspec.json.encode(told).decode()
