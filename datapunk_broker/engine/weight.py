"""Bound the bytes of a claim: what is too much is handed back, as if it had not been claimed."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate

from datapunk_broker.engine.hold import release
from datapunk_broker.engine.rows import LIGHT, Claimed
from datapunk_broker.models import Message
from datapunk_broker.payload import unpacked_size

MOST = 16 * 1024 * 1024
"""Bytes that the bodies of one claim have at most, unpacked; save that each subscription gets one message at least."""


def bounded(claimed: list[Claimed], *, using: str) -> list[Claimed]:
    """Return those that there is room for, with their bodies; each subscription has an equal part of the room."""
    by_subscription: dict[int, list[Claimed]] = {}
    for row in claimed:
        by_subscription.setdefault(row.subscription, []).append(row)
    room = MOST // max(1, len(by_subscription))
    kept = [row for rows in by_subscription.values() for row in _within(rows, room, using)]
    if len(kept) < len(claimed):
        keys = {row.key for row in kept}
        release([row.key for row in claimed if row.key not in keys], using=using)
    return kept


def _within(rows: Sequence[Claimed], room: int, using: str) -> Sequence[Claimed]:
    some = _fetched(rows[: _fitting((row.size for row in rows), room)], using)
    return some[: _fitting((unpacked_size(row.body, row.encoding) for row in some), room)]


def _fitting(sizes: Iterable[int], room: int) -> int:
    return max(1, sum(total <= room for total in accumulate(sizes)))


def _fetched(rows: Sequence[Claimed], using: str) -> Sequence[Claimed]:
    heavy = [row.message for row in rows if row.size > LIGHT]
    if not heavy:
        return rows
    bodies = dict(Message.objects.using(using).filter(pk__in=heavy).values_list("pk", "body"))
    return [replace(row, body=bytes(bodies.get(row.message, row.body))) for row in rows]
