"""Leave no handler, and no task, the broken database connection of the one before it."""

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper


def mend() -> None:
    """Close this thread's connections that broke, or were left in a transaction that nobody ended."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block and (connection.errors_occurred or _is_left_open(connection)):
            connection.close_if_unusable_or_obsolete()


def _is_left_open(connection: BaseDatabaseWrapper) -> bool:
    return connection.connection is not None and connection.autocommit != connection.settings_dict["AUTOCOMMIT"]
