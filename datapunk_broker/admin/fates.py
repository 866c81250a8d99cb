"""What became of a message: a line for each subscription it was routed to, and for each failed attempt."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.html import format_html
from django.utils.timezone import localtime

from datapunk_broker.admin.base import database
from datapunk_broker.admin.linking import link, mark, page_of
from datapunk_broker.models import Attempt, Delivery, Message, SettledDelivery, StreamEntry, Subscription
from datapunk_broker.states import Transport

MOST_ROWS = 200
"""Lines of a table on a page."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table on a page; ``more`` says that it goes on."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: bool = False
    empty: str = ""

    @classmethod
    def of(cls, title: str, columns: str, rows: Iterable[tuple[Any, ...]], empty: str = "") -> "Table":
        """Take the first rows."""
        lines = tuple(rows)
        return cls(title, tuple(columns.split(" | ")), lines[:MOST_ROWS], len(lines) > MOST_ROWS, empty)


class Names:
    """Subscriptions by id, read at once; one that was purged keeps its number."""

    def __init__(self, ids: Iterable[int]) -> None:
        rows = Subscription.objects.using(database()).filter(pk__in=set(ids))
        self.known: Mapping[int, Subscription] = rows.only("name", "transport", "deleted_at").in_bulk()

    def is_stream(self, pk: int) -> bool:
        """Whether this is a stream's own subscription."""
        return pk in self.known and self.known[pk].transport == Transport.STREAM

    def of(self, pk: int) -> Any:
        """Return the name, as a link where there is something behind it."""
        if pk not in self.known:
            return f"#{pk} (gone)"
        row = self.known[pk]
        if row.deleted_at is not None:
            return f"{row.name} (deleted)"
        return link(page_of("subscription", pk), row.name)


def deliveries_of(message: Message) -> Table:
    """Return what is, or was, on its way to whom."""
    about = {"message_id": message.pk}
    live = list(Delivery.objects.using(database()).filter(**about).order_by("subscription_id")[: MOST_ROWS + 1])
    settled = SettledDelivery.objects.using(database()).filter(**about).order_by("subscription_id")[: MOST_ROWS + 1]
    lines = {row.subscription_id: _live(row) for row in live}
    lines |= {row.subscription_id: _settled(row) for row in settled}
    routed = [pk for pk in message.routed_to if pk not in lines][: MOST_ROWS + 1]
    lines |= dict.fromkeys(routed, ("no row is kept", "", "", ""))
    names = Names(lines)
    rows = ((names.of(pk), *line) for pk, line in sorted(lines.items()) if not names.is_stream(pk))
    columns = "Subscription | State | Attempts | When | Latency"
    return Table.of("Deliveries", columns, rows, "No subscription matched when it was published.")


def attempts_of(message_id: Any, subscription_id: int | None = None) -> Table:
    """Return the attempts that failed, the last first."""
    rows = Attempt.objects.using(database()).filter(message_id=message_id)
    if subscription_id is not None:
        rows = rows.filter(subscription_id=subscription_id)
    found = list(rows.order_by("-pk")[: MOST_ROWS + 1])
    names = Names(row.subscription_id for row in found)
    lines = (
        (names.of(row.subscription_id), row.attempt, row.get_reason_display(), _error(row), stamp(row.failed_at))
        for row in found
    )
    return Table.of("Failed attempts", "Subscription | Attempt | Reason | Error | When", lines, "None failed.")


def stream_of(message: Message) -> Table:
    """Return the message's place in its topic's stream."""
    entries = StreamEntry.objects.using(database()).filter(message_id=message.pk).order_by("position")
    lines = ((entry.position, stamp(entry.appended_at)) for entry in entries[: MOST_ROWS + 1])
    return Table.of("Stream", "Position | Appended", lines, "It is not in the topic's stream.")


def routed_to(message: Message) -> Any:
    """Return whom it was routed to, by name."""
    if not message.routed_to:
        return "nobody"
    names = Names(message.routed_to[:MOST_ROWS])
    shown = [names.of(pk) for pk in message.routed_to[:MOST_ROWS]]
    rest = len(message.routed_to) - len(shown)
    more = [f"and {rest:,} more"] if rest else []
    return format_html(", ".join(["{}"] * len([*shown, *more])), *shown, *more)


def stamp(moment: datetime | None) -> str:
    """Return a moment to the millisecond, in the time zone of whoever looks."""
    return localtime(moment).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] if moment else ""


def to_the_second(moment: datetime) -> str:
    """Return a moment as a list has room for it."""
    return localtime(moment).strftime("%Y-%m-%d %H:%M:%S")


def _live(row: Delivery) -> tuple[Any, ...]:
    waits = f"leased until {stamp(row.lease_until)}" if row.lease_until else f"due {stamp(row.available_at)}"
    return mark(row.state), row.attempt, waits, ""


def _settled(row: SettledDelivery) -> tuple[Any, ...]:
    return mark(row.outcome), row.attempts, f"settled {stamp(row.settled_at)}", f"{row.latency:.3f} s"


def _error(row: Attempt) -> str:
    return ": ".join(filter(None, (row.error_class, row.error_message[:500])))
