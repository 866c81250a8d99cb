"""Make the topology that a file describes."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import transaction

from datapunk_broker import broker
from datapunk_broker.administration import Report, Topology
from datapunk_broker.conf import get_config
from datapunk_broker.exceptions import BrokerError
from datapunk_broker.management.commands._telling import TellingCommand
from datapunk_broker.management.commands._topology_file import LARGEST, read
from datapunk_broker.states import Transport


class Command(TellingCommand):
    """All that the file names is there as it says afterwards, or nothing was changed."""

    help = (
        "Create and update topics and subscriptions as a file of broker_export says, all or nothing. An option that is "
        "left out takes its default; what the file does not name stays as it is, and nothing is deleted, paused or "
        "resumed. It is the topology alone: no messages and no topic grants. A webhook keeps its secret."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE|-", help="JSON as broker_export writes it; - is standard input.")
        parser.add_argument("--dry-run", action="store_true", help="Say what would be done, and change nothing.")

    def handle(self, *, file: str, dry_run: bool, **_: Any) -> None:
        try:
            topology = read(_body(file))
            report = _imported(topology, dry_run=dry_run)
        except BrokerError as error:
            source = "standard input" if file == "-" else file
            raise CommandError(f"{source}: {error}\nNothing was changed.") from error
        create, update = ("would create", "would update") if dry_run else ("created", "updated")
        self.tell(create, report.created)
        self.tell(update, report.updated)
        self.tell("unchanged", report.unchanged)
        counts = f"{create} {len(report.created)}, {update} {len(report.updated)}, {len(report.unchanged)} unchanged."
        self.stdout.write(f"{counts[0].upper()}{counts[1:]}")
        if (names := _new_secrets(topology, report)) and not dry_run:
            self.stderr.write(f"Made new secrets for {', '.join(names)}. Give their own in the admin or over the API.")


def _imported(topology: Topology, *, dry_run: bool) -> Report:
    using = get_config().database
    with transaction.atomic(using=using):
        report = broker.import_topology(*topology)
        transaction.set_rollback(dry_run, using=using)
    return report


def _new_secrets(topology: Topology, report: Report) -> list[str]:
    given = {config.name for config in topology.subscriptions if config.transport != Transport.WEBHOOK or config.secret}
    created = [item.name for item in report.created if item.kind == "subscriptions"]
    resealed = [item.name for item in report.updated if "secret" in item.fields]
    return [name for name in (*created, *resealed) if name not in given]


def _body(file: str) -> bytes:
    try:
        if file == "-":
            body = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with Path(file).open("rb") as opened:
                body = opened.read(LARGEST + 1)
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from error
    if len(body) > LARGEST:
        raise CommandError(f"{file}: more than {LARGEST:,} bytes are no topology. Import it in parts.")
    return body
