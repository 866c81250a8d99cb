"""The names of the broker's own Celery queues, and what beat does when."""

from datetime import timedelta
from typing import Any

from django.utils.functional import SimpleLazyObject

from datapunk_broker.conf import get_config

HANDLER, WEBHOOK, STREAM = "broker.handler", "broker.webhook", "broker.stream"
MAINTENANCE = "broker.maintenance"

QUEUES = (HANDLER, WEBHOOK, STREAM, MAINTENANCE)
"""One a transport, so that slow endpoints never hold a handler, and one for the sweep, the count and the prune."""

SWEEP_EVERY, COUNT_EVERY = 1.0, 60.0

SOON, LATER = 60.0, 3600.0
"""Seconds after which a task that no worker took is not run: a minute's, or an hour's.

Celery makes a time of day of them by beat's clock and holds it against the worker's: with a few seconds, a worker
whose clock is ahead would run none. One that comes late finds nothing to do.
"""


def beat_schedule(cleanup_interval: float | None = None) -> dict[str, dict[str, Any]]:
    """Return what to add to CELERY_BEAT_SCHEDULE; it prunes every ``cleanup_interval``, or as the settings say."""
    # Django's settings call this while they are being read, so theirs is looked up when beat begins.
    every = SimpleLazyObject(_cleanup_interval) if cleanup_interval is None else cleanup_interval
    return {
        "datapunk_broker.sweep": _turn("sweep", SWEEP_EVERY, SOON),
        "datapunk_broker.count": _turn("count", COUNT_EVERY, SOON),
        "datapunk_broker.prune": _turn("prune", every, LATER),
    }


def _turn(task: str, every: Any, expires: float) -> dict[str, Any]:
    options = {"queue": MAINTENANCE, "expires": expires, "ignore_result": True}
    return {"task": f"datapunk_broker.{task}", "schedule": every, "options": options}


def _cleanup_interval() -> timedelta:
    return timedelta(seconds=get_config().cleanup_interval)
