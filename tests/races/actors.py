"""Actors: threads that own their database connections, and transactions that stay open until they are told."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from django.db import transaction

from datapunk_broker.models import Delivery
from tests.engine.racing import LONGEST, Actors, wait_until_blocked

__all__ = ["LONGEST", "Actors", "opened", "wait_until_blocked", "work_is_left"]


def work_is_left() -> Iterator[None]:
    """Go on for as long as a delivery is unsettled, but not for ever."""
    end = time.monotonic() + LONGEST
    while Delivery.objects.exists():
        assert time.monotonic() < end, f"still unsettled: {list(Delivery.objects.values()[:3])}"
        yield


@contextmanager
def opened(actors: Actors, act: Callable[[], Any], *, commit: bool = True) -> Iterator[Future[Any]]:
    """What an actor did in a transaction that stays open for as long as this context; then it is committed."""
    is_done, may_end = threading.Event(), threading.Event()

    def hold() -> Any:
        with transaction.atomic():
            try:
                result = act()
            finally:
                is_done.set()
            assert may_end.wait(LONGEST), "nobody told it to end"
            transaction.set_rollback(not commit)
        return result

    future = actors.start(hold)
    try:
        assert is_done.wait(LONGEST)
        yield future
    finally:
        may_end.set()
        future.result(LONGEST)
