"""Make what is declared, and say where the database differs."""

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import transaction

from datapunk_broker import broker
from datapunk_broker.conf import get_config
from datapunk_broker.management.commands._telling import ONE, TellingCommand


class Command(TellingCommand):
    """What people changed in the admin stays as they made it, and is shown as drift."""

    help = "Create and update the topics and subscriptions that are declared; nothing is deleted or overwritten."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="Change nothing; exit with 1 if the database is not as declared."
        )

    def handle(self, *, check: bool, verbosity: int, **_: Any) -> None:
        with transaction.atomic(using=get_config().database):
            report = broker.sync()
            transaction.set_rollback(check, using=get_config().database)
        done = ("missing", "outdated") if check else ("created", "updated")
        for word, items in zip(done, (report.created, report.updated), strict=True):
            self.tell(word, items)
        for drift in report.drifted:
            where = f"{ONE[drift.kind]} {drift.name}: {drift.field}"
            self.stdout.write(f"drift {where} is {drift.actual!r}, declared as {drift.declared!r}")
        if verbosity > 1:
            self.tell("unchanged", report.unchanged)
        counts = f"{len(report.created)} {done[0]}, {len(report.updated)} {done[1]}"
        self.stdout.write(f"{counts}, {len(report.unchanged)} unchanged, {len(report.drifted)} drifted.")
        if check and (report.created or report.updated or report.drifted):
            raise CommandError("The database is not as declared.")
