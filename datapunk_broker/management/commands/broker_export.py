"""Write the topology as JSON."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from datapunk_broker import broker
from datapunk_broker.conf import get_config
from datapunk_broker.management.commands._topology_file import written
from datapunk_broker.management.speaking import BrokerCommand
from datapunk_broker.models import Subscription


class Command(BrokerCommand):
    """The same topology is the same file, to the byte."""

    help = (
        "Write all topics, subscriptions and bindings as JSON, for broker_import. An option with its default is left "
        "out. It is the topology alone: no messages, no topic grants, not what is paused, and no webhook's secret."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--output", metavar="F", type=Path, help="Write to this file, not to standard output.")

    def handle(self, *, output: Path | None, **_: Any) -> None:
        text = written(broker.export_topology())
        if output is None:
            self.stdout.write(text, ending="")
        else:
            try:
                output.write_bytes(text.encode())
            except OSError as error:
                raise CommandError(f"{output}: {error.strerror}") from error
        webhooks = Subscription.objects.using(get_config().database).listed().exclude(secret="")
        if names := sorted(webhooks.values_list("name", flat=True)):
            self.stderr.write(
                f"Not exported: the secrets of {', '.join(names)}. An import keeps the secret that is there."
            )
