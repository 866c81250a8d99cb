"""Remove what is past its retention, now rather than when beat says so."""

from dataclasses import asdict
from typing import Any

from datapunk_broker import broker
from datapunk_broker.management.progress import shown
from datapunk_broker.management.speaking import BrokerCommand


class Command(BrokerCommand):
    """What is still owed, or open as a dead letter, stays."""

    help = "Remove messages, dead letters, stream entries and tombstones that are past their retention."

    def handle(self, **_: Any) -> None:
        with shown(self.stderr, "Rows removed") as show:
            pruned = broker.prune(progress=show)
        counts = (f"{count:,} {name.replace('_', ' ')}" for name, count in asdict(pruned).items())
        self.stdout.write(f"Removed {', '.join(counts)}.")
