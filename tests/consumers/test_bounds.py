"""The small counts that keep a connection within bounds."""

import asyncio

import pytest

from datapunk_broker.consumers.credit import Credit
from datapunk_broker.consumers.items import Item
from datapunk_broker.consumers.limits import Bucket
from datapunk_broker.consumers.ring import MOST_BYTES, MOST_ITEMS, Ring


def item(position: int, size: int = 10) -> Item:
    return Item(position, "", {}, "x" * size)


def places(items: list[Item]) -> list[int]:
    return [item.position for item in items]


async def test_credit_counts_from_the_beginning_and_reaches_no_further_than_its_window() -> None:
    credit = Credit(3, window=5)
    assert credit.left == 3
    credit.spend(2)
    credit.grant(100)
    assert credit.left == 5
    credit.grant(4)
    assert credit.left == 5
    credit.spend(5)
    assert credit.left == 0
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(credit.some(), 0.01)
    credit.grant(8)
    assert await credit.some() == 1


def test_a_ring_gives_what_lies_behind_a_position() -> None:
    ring = Ring(4)
    for position in range(5, 10):
        ring.append(item(position))

    assert (ring.start, ring.head) == (4, 9)
    assert places(ring.after(4, 100)) == [5, 6, 7, 8, 9]
    assert places(ring.after(7, 1)) == [8]
    assert ring.after(9, 100) == []


def test_a_ring_forgets_the_oldest_beyond_its_bounds_but_never_the_newest() -> None:
    ring = Ring(0)
    for position in range(1, MOST_ITEMS + 11):
        ring.append(item(position))
    ring.trim()
    assert (ring.start, ring.head) == (10, MOST_ITEMS + 10)
    assert places(ring.after(10, 2)) == [11, 12]

    ring.append(item(ring.head + 1, MOST_BYTES + 1))
    ring.trim()
    assert (ring.start, ring.head) == (MOST_ITEMS + 10, MOST_ITEMS + 11)
    assert places(ring.after(ring.start, 5)) == [MOST_ITEMS + 11]


def test_a_ring_keeps_nothing_from_before_a_gap() -> None:
    ring = Ring(0)
    ring.append(item(1))
    ring.append(item(7))

    assert (ring.start, ring.head) == (6, 7)
    assert places(ring.after(6, 5)) == [7]


def test_a_bucket_lets_a_burst_through_and_then_its_rate() -> None:
    bucket = Bucket(2.0, 3, now=100.0)

    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(now) for now in (100.4, 100.5, 100.6, 101.0)] == [False, True, False, True]
    assert [bucket.take(1000.0) for _ in range(4)] == [True, True, True, False]
