"""Publish messages from a file, from standard input, or one that is given on the command line."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from django.core.management.base import CommandError, CommandParser

from datapunk_broker import broker
from datapunk_broker.exceptions import BrokerError, PayloadInvalidError, TopicNotFoundError
from datapunk_broker.management.progress import Show, shown
from datapunk_broker.management.speaking import BrokerCommand, terminable

BATCH = 500


class Line(msgspec.Struct, forbid_unknown_fields=True):
    """A line of the file: a message in its envelope. delay, ttl: seconds. The payload's bytes stay as they are."""

    payload: msgspec.Raw
    routing_key: str = ""
    headers: dict[str, Any] = {}
    ordering_key: str | None = None
    priority: int = 0
    idempotency_key: str | None = None
    delay: float | None = None
    ttl: float | None = None
    correlation_id: str | None = None
    reply_to: str | None = None

    def outgoing(self) -> broker.Outgoing[msgspec.Raw]:
        """Return what is published; raises PayloadInvalidError for a duration beyond the calendar."""
        durations = {"delay": _duration("delay", self.delay), "ttl": _duration("ttl", self.ttl)}
        return broker.Outgoing(**{**msgspec.structs.asdict(self), **durations})


class Command(BrokerCommand):
    """A line that is refused is named, and takes no other with it."""

    help = "Publish the lines of a file (JSON envelopes), or one --payload, to a topic."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("topic")
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument("--file", metavar="F.jsonl|-", help='A line is {"payload": …, "routing_key": "…", …}.')
        source.add_argument("--payload", metavar="JSON", help="Publish this one message.")
        one = parser.add_argument_group("with --payload")
        for name in ("routing-key", "ordering-key", "idempotency-key", "correlation-id", "reply-to"):
            one.add_argument(f"--{name}")
        one.add_argument("--priority", type=int, help="0 to 9; the highest goes first.")
        one.add_argument("--delay", type=float, metavar="SECONDS")
        one.add_argument("--ttl", type=float, metavar="SECONDS")
        one.add_argument(
            "--header", dest="headers", type=_header, action="append", metavar="K=V", help="V is JSON, or else text."
        )

    def handle(self, *, topic: str, file: str | None, **options: Any) -> None:
        given = {name: options[name] for name in Line.__struct_fields__ if options.get(name) is not None}
        if file is None:
            self._publish_one(topic, given)
        elif given:
            raise CommandError(f"--{next(iter(given)).replace('_', '-')} goes with --payload; here the lines say it.")
        else:
            self._publish_file(topic, file)

    def _publish_one(self, topic: str, given: dict[str, Any]) -> None:
        payload = msgspec.Raw(
            given.pop("payload").encode(errors="surrogatepass")
        )  # what is no UTF-8 is refused as such
        line = Line(payload, **{**given, "headers": dict(given.get("headers", ()))})
        receipt = broker.publish_many(topic, [line.outgoing()])[0]
        was = " (published before, under the same idempotency key)" if receipt.duplicate else ""
        self.stdout.write(f"{receipt.message_id} to {receipt.deliveries} subscriptions{was}")

    def _publish_file(self, topic: str, file: str) -> None:
        done = Publishing(topic, self._refused)
        try:
            with terminable(), _opened(file) as (lines, size), shown(self.stderr, f"Published to {topic}") as show:
                done.run(lines, size, show)
        except KeyboardInterrupt:
            raise CommandError("Interrupted.", returncode=130) from None
        finally:
            if done.seen:
                self.stdout.write(done.summary())
        if done.refused:
            raise CommandError(f"{done.refused:,} of {done.seen:,} lines were refused.")

    def _refused(self, number: int, reason: str) -> None:
        self.stderr.write(f"line {number}: {reason}")


class Publishing:
    """Publishes lines in batches and counts what became of them.

    through: the line up to which all are done. is_over: whether that is the last one.
    """

    def __init__(self, topic: str, refuse: Callable[[int, str], None]) -> None:
        self.topic, self._refuse = topic, refuse
        self.seen = self.through = self.published = self.duplicates = self.deliveries = self.refused = 0
        self.is_over = False

    def summary(self) -> str:
        counts = (
            f"{self.published:,} published to {self.topic} ({self.deliveries:,} deliveries), "
            f"{self.duplicates:,} published before, {self.refused:,} refused."
        )
        return counts if self.is_over else f"{counts}\nIt ended early: the lines up to {self.through} are done."

    def run(self, lines: BinaryIO, size: int | None, show: Show) -> None:
        """Publish every line; what is refused is told of, the rest goes on. Raises TopicNotFoundError."""
        batch: list[tuple[int, broker.Outgoing[Any]]] = []
        read = 0
        for number, text in enumerate(lines, 1):
            read += len(text)
            if not text.strip():
                continue
            self.seen += 1
            try:
                batch.append((number, msgspec.json.decode(text, type=Line).outgoing()))
            except (ValueError, RecursionError, BrokerError) as error:
                self._note(number, str(error))
            if len(batch) == BATCH:
                self._publish(batch)
                batch = []
                show(self.published, read / size if size else None)
        self._publish(batch)
        self.is_over = True
        show(self.published, 1.0 if size else None)

    def _publish(self, batch: Sequence[tuple[int, broker.Outgoing[Any]]]) -> None:
        try:
            receipts = broker.publish_many(self.topic, [message for _, message in batch])
        except TopicNotFoundError:
            raise
        except BrokerError as error:
            # All or none: one by one, the others go.
            if len(batch) > 1:
                for one in batch:
                    self._publish([one])
            else:
                self._note(batch[0][0], str(error))
        else:
            self.published += sum(not receipt.duplicate for receipt in receipts)
            self.duplicates += sum(receipt.duplicate for receipt in receipts)
            self.deliveries += sum(receipt.deliveries for receipt in receipts if not receipt.duplicate)
        self.through = batch[-1][0] if batch else self.through

    def _note(self, number: int, reason: str) -> None:
        self.refused += 1
        self._refuse(number, reason)


@contextmanager
def _opened(file: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """Yield the lines of a file, and its size in bytes where it has one; "-" is standard input."""
    if file == "-":
        yield sys.stdin.buffer, None
        return
    with ExitStack() as opened:
        try:
            lines = opened.enter_context(Path(file).open("rb"))
        except OSError as error:
            raise CommandError(f"{file}: {error.strerror}") from error
        yield lines, Path(file).stat().st_size


def _duration(field: str, seconds: float | None) -> timedelta | None:
    try:
        return None if seconds is None else timedelta(seconds=seconds)
    except (OverflowError, ValueError):  # ValueError: not a number
        raise PayloadInvalidError(field, f"is {seconds!r} seconds, which is out of range") from None


def _header(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(text)
    try:
        return name, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return name, value
