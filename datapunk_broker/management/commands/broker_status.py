"""Show what there is: totals, backlogs, dead letters, breakers, and whether the books balance."""

import threading
from typing import Any

import msgspec
from django.core.management.base import CommandParser

from datapunk_broker import broker
from datapunk_broker.management.speaking import BrokerCommand, until_interrupted
from datapunk_broker.management.tables import Table, write

SHORTEST = 0.1
"""Seconds between two looks."""


class Command(BrokerCommand):
    """The audit reads the whole history; ``--no-audit`` spares a large database that."""

    help = "Show topics and subscriptions with their totals, backlogs, dead letters, breakers and audit."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--watch", type=_pause, nargs="?", const=2.0, metavar="SECONDS", help="Show it again every 2 seconds."
        )
        parser.add_argument("--json", action="store_true", help="One JSON object a line.")
        parser.add_argument("--no-audit", dest="audit", action="store_false", help="Leave the balance out.")

    def handle(self, *, watch: float | None, json: bool, audit: bool, **_: Any) -> None:
        if watch is None:
            self._show(json=json, audit=audit)
            return
        pause = threading.Event()
        with until_interrupted():
            while True:
                self._show(json=json, audit=audit, again=True)
                self.stdout.flush()
                pause.wait(watch)

    def _show(self, *, json: bool, audit: bool, again: bool = False) -> None:
        stats, lines = broker.stats(), broker.audit() if audit else ()
        if json:
            told = {**stats.to_dict(), "audit": lines} if audit else stats.to_dict()
            self.stdout.write(msgspec.json.encode(told).decode())
        else:
            write(self.stdout, [_topics(stats), _subscriptions(stats, lines)], again=again)


def _pause(text: str) -> float:
    seconds = float(text)
    if not SHORTEST <= seconds <= threading.TIMEOUT_MAX:
        raise ValueError
    return seconds


def _topics(stats: Any) -> Table:
    rows = [
        (
            topic.name,
            topic.type,
            sum(s.topic == topic.name for s in stats.subscriptions),
            topic.messages,
            topic.published_per_minute,
        )
        for topic in stats.topics
    ]
    return Table("Topics", ("topic", "type", "subscriptions", "messages", "last minute"), rows)


def _subscriptions(stats: Any, audit: Any) -> Table:
    books = {line.subscription: _balance(line) for line in audit}
    rows = [
        (
            row.name,
            row.topic,
            row.transport,
            row.state,
            sum(row.backlog.values()),
            "-" if row.oldest_unacked is None else f"{row.oldest_unacked:.0f} s",
            row.settled["acked"],
            sum(row.dead_letters.values()),
            row.breaker_state,
            books.get(row.name, "-"),
        )
        for row in stats.subscriptions
    ]
    columns = ("subscription", "topic", "transport", "state", "backlog", "oldest", "acked", "dead", "breaker", "audit")
    return Table("Subscriptions", columns, rows)


def _balance(line: Any) -> int | str:
    """Return what is left when all that became of a subscription's messages is subtracted: 0 is right."""
    if line.balance is None:
        return "-"
    return line.balance if line.ok else f"{line.missing} missing, {line.surplus} surplus"
