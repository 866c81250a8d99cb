"""Show how far long work is: a bar on a terminal, now and then a line elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from django.core.management.base import OutputWrapper

try:
    from rich import console
    from rich import progress as bars
except ImportError:
    HAS_RICH = False
else:
    HAS_RICH = True

EVERY = 2.0
"""Seconds between two plain lines."""


class Show(Protocol):
    """Called with how much is done so far, and with the share of the whole that it is (0 to 1) where known."""

    def __call__(self, done: int, share: float | None = None, /) -> None: ...


@contextmanager
def shown(err: OutputWrapper, what: str) -> Iterator[Show]:
    """Yield what to call as the work goes on; it is shown on the command's standard error."""
    if not (HAS_RICH and err.isatty()):
        yield _plain(err, what)
        return
    columns = (bars.TextColumn("{task.description}"), bars.BarColumn(), bars.TextColumn("{task.fields[done]:,}"))
    with bars.Progress(*columns, bars.TimeElapsedColumn(), console=console.Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None, done=0)

        def show(done: int, share: float | None = None, /) -> None:
            bar.update(task, done=done, total=None if share is None else 1.0, completed=share or 0.0)

        yield show


def _plain(err: OutputWrapper, what: str) -> Show:
    last = time.monotonic()

    def show(done: int, share: float | None = None, /) -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY:
            last = time.monotonic()
            err.write(f"{what}: {done:,}" + ("" if share is None else f" ({share:.0%})"))

    return show
