"""The names of the broker's own Celery queues, and what beat does when."""

from typing import Any

HANDLER, WEBHOOK, STREAM = "broker.handler", "broker.webhook", "broker.stream"
MAINTENANCE = "broker.maintenance"

QUEUES = (HANDLER, WEBHOOK, STREAM, MAINTENANCE)
"""One a transport, so that slow endpoints never hold a handler, and one for the sweep, the count and the prune."""

SWEEP_EVERY, COUNT_EVERY = 1.0, 60.0


def beat_schedule(cleanup_interval: float = 3600.0) -> dict[str, dict[str, Any]]:
    """Return what to add to CELERY_BEAT_SCHEDULE; a task that waited longer than its turn is not run."""
    return {
        "datapunk_broker.sweep": {
            "task": "datapunk_broker.sweep",
            "schedule": SWEEP_EVERY,
            "options": {"queue": MAINTENANCE, "expires": 2 * SWEEP_EVERY, "ignore_result": True},
        },
        "datapunk_broker.count": {
            "task": "datapunk_broker.count",
            "schedule": COUNT_EVERY,
            "options": {"queue": MAINTENANCE, "expires": COUNT_EVERY, "ignore_result": True},
        },
        "datapunk_broker.prune": {
            "task": "datapunk_broker.prune",
            "schedule": cleanup_interval,
            "options": {"queue": MAINTENANCE, "expires": cleanup_interval, "ignore_result": True},
        },
    }
