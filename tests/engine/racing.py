"""Actors on database connections of their own."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from django.db import connection, connections

LONGEST = 30.0
"""Seconds after which an actor that should have come back is taken to hang."""

WAITING = """
SELECT count(*) FROM pg_locks w WHERE NOT granted AND EXISTS (
    SELECT 1 FROM pg_locks h JOIN pg_database d ON d.oid = h.database
    WHERE h.pid = w.pid AND d.datname = current_database())
"""
"""Who waits in this database. (In a transaction pg_stat_activity always says what it said first.)"""


class Actors:
    """Runs functions at the same time, each on a connection of its own."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=8)

    def start(self, act: Callable[[], Any]) -> Future[Any]:
        """Run one function beside the test."""
        return self._pool.submit(_acting, act)

    def race(self, *acts: Callable[[], Any]) -> list[Any]:
        """Run functions from one starting line; return what each returned or raised."""
        line = threading.Barrier(len(acts))

        def start(act: Callable[[], Any]) -> Any:
            connection.ensure_connection()
            line.wait(LONGEST)
            return act()

        futures = [self.start(lambda act=act: start(act)) for act in acts]
        return [future.exception(LONGEST) or future.result() for future in futures]

    def close(self) -> None:
        self._pool.shutdown()


def wait_until_blocked(future: Future[Any]) -> None:
    """Return once an actor waits for a lock that another connection holds."""
    pause = threading.Event()
    for _ in range(int(LONGEST / 0.02)):
        assert not future.done(), f"nothing held it back: {future}"
        with connection.cursor() as cursor:
            cursor.execute(WAITING)
            if cursor.fetchone()[0]:
                return
        pause.wait(0.02)
    raise AssertionError("it never waited")


def _acting(act: Callable[[], Any]) -> Any:
    try:
        return act()
    finally:
        connections.close_all()
