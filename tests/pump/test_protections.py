"""Take one protection away, and the judge of histories sees what it was for: with it, nothing is wrong."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import Error, connection

from datapunk_broker.engine.settle import Verdicts, settle
from datapunk_broker.engine.sweep import sweep
from datapunk_broker.envelope import Received
from datapunk_broker.pump.batch import Batch
from datapunk_broker.pump.deliver import deliver
from datapunk_broker.pump.ledger import Ledger
from tests.faults.history import Published, Said, judge
from tests.pump.conftest import Subscribe
from tests.pump.make import claimed, drain, end_leases, make_due, owed, publish
from tests.shop.models import Effect

pytestmark = pytest.mark.django_db(transaction=True)

EXACTLY = {"delivery_mode": "exactly_once", "retry_delay": 0}
NUMBERS = (0, 1, 2)
TOLD = [Published(number, Said.ACKNOWLEDGED) for number in NUMBERS]

Message = Received[Any]


def write(message: Message) -> None:
    Effect.objects.create(value=message.payload)


def written() -> list[int]:
    return list(Effect.objects.order_by("pk").values_list("value", flat=True))


def deliver_unfenced(batch: Batch) -> None:
    """Handle what was claimed once, without asking whether the claims still hold, and settle it."""
    messages, _ = batch.open()
    batch.transport.deliver(batch.errand(messages, lambda: True), lambda _: None)
    settle(Verdicts(acked=batch.keys), Ledger(batch).roster, using=batch.using)


@pytest.mark.parametrize(("deliver_late", "duplicated"), [(deliver, 0), (deliver_unfenced, 3)])
def test_without_the_fence_a_late_worker_repeats_what_another_did(
    subscribe: Subscribe, deliver_late: Callable[[Batch], object], duplicated: int
) -> None:
    subscribe(write, **EXACTLY)
    publish(*NUMBERS)
    late = claimed()
    end_leases()
    sweep(using="default")
    drain()

    deliver_late(late)

    verdict = judge(TOLD, written())
    assert (verdict.delivered, verdict.lost, verdict.duplicated) == (3, 0, duplicated)


@pytest.mark.postgresql
@pytest.mark.parametrize(("in_transaction", "duplicated"), [(True, 0), (False, 2)])
def test_without_the_ack_in_its_transaction_an_effect_is_repeated(
    subscribe: Subscribe, in_transaction: bool, duplicated: int
) -> None:
    elsewhere: list[int] = []
    cut: list[bool] = []

    def bill(message: Message) -> None:
        write(message) if in_transaction else elsewhere.append(message.payload)
        if message.payload == 1 and not cut:
            cut.append(True)
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    subscribe(bill, **EXACTLY)
    publish(*NUMBERS)
    with pytest.raises(Error):
        deliver(claimed())
    while owed():
        end_leases()
        sweep(using="default")
        make_due()
        drain()

    verdict = judge(TOLD, written() if in_transaction else elsewhere)
    assert (verdict.delivered, verdict.lost, verdict.duplicated) == (3, 0, duplicated)


def no_sweep(*, using: str) -> None:
    """Leave everything as it lies."""


@pytest.mark.parametrize(("go_round", "lost"), [(sweep, 0), (no_sweep, 3)])
def test_without_the_sweep_what_a_dead_worker_held_is_lost(
    subscribe: Subscribe, go_round: Callable[..., object], lost: int
) -> None:
    subscribe(write)
    publish(*NUMBERS)
    claimed()
    end_leases()

    go_round(using="default")
    drain()

    verdict = judge(TOLD, written())
    assert (verdict.lost, verdict.duplicated, verdict.unexpected) == (lost, 0, 0)
