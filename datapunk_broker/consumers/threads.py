"""Do database work for many sockets in a few threads, each with a connection that it keeps for a while."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import InterfaceError, OperationalError, connections

P = ParamSpec("P")
R = TypeVar("R")

KEEP = 60.0
"""Seconds that a thread keeps a connection where Django would close it after each request."""

IDLE = 5.0
"""Seconds after which a kept connection is tried before it is used."""

FEEDS, WORKERS = 1, 4

_feeds = ThreadPoolExecutor(FEEDS, "datapunk-feeds")
_workers = ThreadPoolExecutor(WORKERS, "datapunk-sockets")
_mine = threading.local()
_trouble = {"at": 0.0}
"""When a connection was found dead last: each of the others is tried before it is used again."""


async def in_database(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run synchronous work, which may use the database, in a thread."""
    return await _run(_workers, partial(work, *args, **kwargs))


async def for_feeds(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run what many readers wait for, ahead of what single sockets ask."""
    return await _run(_feeds, partial(work, *args, **kwargs))


async def _run(pool: ThreadPoolExecutor, work: Callable[[], R]) -> R:
    return await asyncio.get_running_loop().run_in_executor(pool, _with_connection, work)


def _with_connection(work: Callable[[], R]) -> R:
    used_at, now = getattr(_mine, "used_at", 0.0), time.monotonic()
    if now - used_at > IDLE or used_at <= _trouble["at"]:
        _drop_the_dead()
    _mine.used_at = now
    try:
        return work()
    except (InterfaceError, OperationalError):
        _trouble["at"] = time.monotonic()
        raise
    finally:
        _drop_the_old()


def _drop_the_dead() -> None:
    for connection in connections.all(initialized_only=True):
        if connection.connection is not None and not connection.is_usable():
            _trouble["at"] = time.monotonic()
            connection.close()


def _drop_the_old() -> None:
    for connection in connections.all(initialized_only=True):
        options = connection.settings_dict
        is_ours = options["CONN_MAX_AGE"] == 0 and not options["OPTIONS"].get("pool")
        opened_at = connection.close_at or 0.0  # with CONN_MAX_AGE 0 it is due from the beginning
        if not is_ours or connection.errors_occurred or time.monotonic() - opened_at > KEEP:
            connection.close_if_unusable_or_obsolete()
