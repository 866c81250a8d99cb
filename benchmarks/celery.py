"""The Celery app of the workers that are measured."""

from celery import Celery
from kombu import Queue

from datapunk_broker.queues import QUEUES, beat_schedule

app = Celery("benchmarks")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.update(
    beat_schedule=beat_schedule(),
    broker_connection_retry_on_startup=True,
    db_reuse_max=10_000,
    task_queues=[Queue(name, routing_key=name) for name in ("celery", *QUEUES)],
    worker_disable_prefetch=True,
)
app.autodiscover_tasks()
