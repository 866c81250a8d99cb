"""The Celery tasks: they translate, the pump and the engine do the work.

What Celery's broker holds is a hint. A task that is lost, doubled or late loses nothing: the sweep finds what is due.
"""

from typing import Any

from celery import current_app, shared_task
from celery.signals import task_prerun, worker_shutting_down
from kombu import pools

from datapunk_broker.conf import get_config
from datapunk_broker.engine.prune import prune as prune_rows
from datapunk_broker.engine.published import count_published
from datapunk_broker.engine.sweep import sweep as sweep_rows
from datapunk_broker.pump import deliver_live, pump_for, stopping
from datapunk_broker.queues import HANDLER, STREAM, WEBHOOK
from datapunk_broker.states import Transport
from datapunk_broker.transports.connections import mend

QUEUE_OF = {Transport.HANDLER: HANDLER, Transport.WEBHOOK: WEBHOOK, Transport.STREAM: STREAM}

RING_EXPIRES = 60
"""Seconds after which a ring that no worker took is worth nothing: the sweep rings again. Clocks may differ by less."""

LIVE_EXPIRES = 60
"""Seconds after which a message that is stored nowhere is no news any more."""

ONCE_MORE: dict[str, Any] = {
    "retry": True,
    "retry_policy": {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0},
}
"""A connection that has gone stale is opened again, and a broker that is away is not waited for. A ring may double."""

REACH_WITHIN = 2
"""Seconds that Celery's broker has to answer."""


@shared_task(name="datapunk_broker.pump", ignore_result=True, acks_late=False)
def pump(transport: str) -> None:
    """Pump a transport's deliveries until nothing is due or the time is up, then ring for the next pump."""
    if pump_for(transport).run():
        ring(transport)


@shared_task(name="datapunk_broker.sweep", ignore_result=True, acks_late=False)
def sweep() -> None:
    """Go round once, and ring for what was found waiting."""
    for transport in sweep_rows(using=get_config().database).stalled:
        ring(transport)


@shared_task(name="datapunk_broker.count", ignore_result=True, acks_late=False)
def count() -> None:
    """Count what was published in the minutes that are over."""
    count_published(using=get_config().database)


@shared_task(name="datapunk_broker.prune", ignore_result=True, acks_late=False)
def prune() -> None:
    """Remove what is past its retention."""
    prune_rows(using=get_config().database)


@shared_task(name="datapunk_broker.deliver_live", ignore_result=True, acks_late=False)
def deliver_one(wire: dict[str, Any]) -> None:
    """Deliver a message that is stored nowhere else."""
    deliver_live(wire)


def ring(transport: str) -> None:
    """Start a pump of a transport; raises what Celery raises when its broker is away."""
    queue = QUEUE_OF[Transport(transport)]
    pump.apply_async((transport,), queue=queue, expires=RING_EXPIRES, **ONCE_MORE)


def hand_over(wire: dict[str, Any]) -> None:
    """Give a message that is stored nowhere to a worker; raises what Celery raises when its broker is away."""
    deliver_one.apply_async((wire,), queue=HANDLER, retry=False, expires=LIVE_EXPIRES)


def forget_connections() -> None:
    """Leave the connections to Celery's broker that a forked child has inherited to its parent."""
    for pool in (pools.producers, pools.connections):
        pool.clear()
    current_app._after_fork()  # type: ignore[attr-defined] # noqa: SLF001 - what Celery does in its own children


@task_prerun.connect(dispatch_uid="datapunk_broker.tasks")
def mend_connections(**_: object) -> None:
    """Let no task begin on a connection that broke: with CELERY_DB_REUSE_MAX, Celery keeps it for thousands of them."""
    mend()


@worker_shutting_down.connect(dispatch_uid="datapunk_broker.tasks")
def stop_pumps(**_: object) -> None:
    """Let this worker's pumps, in threads or in children, hand back what they have not started."""
    stopping.set()


def reach() -> None:
    """Connect to Celery's broker, once; raises what it raises when it is away."""
    with current_app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=REACH_WITHIN)
