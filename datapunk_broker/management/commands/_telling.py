"""Tell what was done with topics and subscriptions, one a line."""

from collections.abc import Iterable

from datapunk_broker.administration import Synced
from datapunk_broker.management.speaking import BrokerCommand

ONE = {"topics": "topic", "subscriptions": "subscription"}


class TellingCommand(BrokerCommand):
    """A command that says which topics and subscriptions it made or changed."""

    def tell(self, word: str, items: Iterable[Synced]) -> None:
        """Say of each what was done, and to which of its options."""
        for item in items:
            fields = f" ({', '.join(item.fields)})" if item.fields else ""
            self.stdout.write(f"{word} {ONE[item.kind]} {item.name}{fields}")
