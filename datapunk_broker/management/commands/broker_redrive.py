"""Deliver dead letters again."""

from datetime import datetime
from typing import Any

import msgspec
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from datapunk_broker import broker
from datapunk_broker.management.progress import shown
from datapunk_broker.management.speaking import BrokerCommand


class Command(BrokerCommand):
    """All filters must hold; without one every open dead letter is meant."""

    help = "Deliver dead letters again, as they were or with another payload. All filters given must hold."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--subscription", help="Those of this subscription.")
        parser.add_argument("--topic", help="Those of this topic.")
        parser.add_argument("--reason", help="Those that died for this reason, such as attempts_exhausted.")
        parser.add_argument("--since", type=moment, help="Those that died at or after this time (ISO 8601).")
        parser.add_argument("--until", type=moment, help="Those that died before this time (ISO 8601).")
        parser.add_argument("--id", dest="ids", type=int, action="append", help="This one; may be given again.")
        parser.add_argument("--dry-run", action="store_true", help="Say how many there are, and leave them.")
        parser.add_argument("--rate", type=float, help="At most so many a second.")
        parser.add_argument("--payload", help="JSON to deliver in place of each payload.")

    def handle(self, *, dry_run: bool, rate: float | None, payload: str | None, **options: Any) -> None:
        names = ("subscription", "topic", "reason", "since", "until", "ids")
        wanted = {name: options[name] for name in names if options[name] is not None}
        edited = None if payload is None else msgspec.Raw(payload.encode())
        with shown(self.stderr, "Dead letters seen") as show:
            done = broker.redrive(wanted, edited, dry_run=dry_run, rate=rate, progress=show)
        self.stdout.write(f"{done.count:,} dead letters {'would be' if dry_run else 'are'} delivered again.")
        if done.skipped:
            ids = ", ".join(map(str, done.skipped))
            raise CommandError(f"{len(done.skipped):,} were skipped, their subscription or message is gone: {ids}")


def moment(text: str) -> datetime:
    """Read a time; without a zone it is one of the project's own."""
    found = parse_datetime(text)
    if found is None:
        raise ValueError(text)
    return found if timezone.is_aware(found) else timezone.make_aware(found)
