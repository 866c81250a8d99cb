"""Let time pass for some rows, and for nothing else."""

from collections.abc import Collection
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import F

from datapunk_broker.models import Attempt, DeadLetter, Delivery, Message, SettledDelivery, StreamEntry
from tests.machine.model import Model
from tests.machine.world import World

LONG_AGO = timedelta(days=1000)


def end_leases(deliveries: Collection[int]) -> None:
    Delivery.objects.filter(pk__in=deliveries).update(lease_until=F("lease_until") - LONG_AGO)


def come_due(subscription: int, messages: Collection[UUID]) -> None:
    waiting = Delivery.objects.of(subscription).filter(message__in=messages)
    waiting.update(available_at=F("available_at") - LONG_AGO)


def outlive(subscription: int, messages: Collection[UUID]) -> None:
    mortal = Delivery.objects.of(subscription).filter(message__in=messages)
    mortal.update(expires_at=F("expires_at") - LONG_AGO)


def age(world: World, model: Model, upto: int, hours: int) -> None:
    """Make the messages up to a number older, with all that is about them; their ids begin with the time."""
    old = [n for n in model.messages if n <= upto]
    for before in world.ids(old):
        _age_message(world, before, hours)
    for n in old:
        model.messages[n].age += hours
        model.messages[n].wait -= hours
    for pair, owed in model.live.items():
        owed.wait -= hours if pair[0] in old else 0
    for pair, letter in model.letters.items():
        letter.age += hours if pair[0] in old else 0
    for position, (n, aged) in model.stream.items():
        if n not in old:
            break  # the entries behind one that is not old are younger than it
        model.stream[position] = n, aged + hours
        entry = StreamEntry.objects.filter(position=position)
        entry.update(appended_at=F("appended_at") - timedelta(hours=hours))


def _age_message(world: World, before: UUID, hours: int) -> None:
    by = timedelta(hours=hours)
    after = UUID(int=before.int - (hours * 3_600_000 << 80))
    moments: dict[Any, tuple[str, ...]] = {
        Delivery: ("published_at", "available_at"),
        SettledDelivery: ("settled_at",),
        DeadLetter: ("dead_at", "first_failed_at"),
        Attempt: ("failed_at",),
        StreamEntry: (),
    }
    for table, columns in moments.items():
        table.objects.filter(message=before).update(message=after, **{c: F(c) - by for c in columns})
    older = {column: F(column) - by for column in ("published_at", "available_at")}
    Message.objects.filter(pk=before).update(id=after, **older)
    world.numbers[after] = world.numbers.pop(before)
