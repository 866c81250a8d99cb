"""What the broker's commands share: an error is a sentence, and Ctrl-C an end like any other."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, ProgrammingError

from datapunk_broker.exceptions import BrokerError


class BrokerCommand(BaseCommand):
    """A command whose refusals are told in the broker's own words."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except BrokerError as error:
            raise CommandError(str(error)) from error
        except (OperationalError, ProgrammingError) as error:
            reason = str(error).strip().splitlines()[0]
            raise CommandError(f"The database refused: {reason}. Is it up, and has manage.py migrate run?") from error


@contextmanager
def until_interrupted() -> Iterator[None]:
    """Let Ctrl-C, and SIGTERM just the same, end what is inside, and no more than that."""
    with suppress(KeyboardInterrupt), terminable():
        yield


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM be a KeyboardInterrupt inside, as Ctrl-C is."""
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler) if is_main else None
    try:
        yield
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, before)
