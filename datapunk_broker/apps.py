"""Wire the app into Django: no database work happens here."""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class DatapunkBrokerConfig(AppConfig):
    """The broker as a Django app."""

    name = "datapunk_broker"
    verbose_name = "Message broker"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks, hang up the doorbell, the log and the metrics, find the handlers."""
        from datapunk_broker import checks, doorbell, tasks
        from datapunk_broker.observability import exporter, health, logs
        from datapunk_broker.registry import autodiscover

        checks.register()
        doorbell.connect()
        logs.connect()
        exporter.connect()
        health.connect("celery", tasks.reach)
        autodiscover()
        post_migrate.connect(_sync, sender=self, dispatch_uid="datapunk_broker.sync")


def _sync(using: str, **_: Any) -> None:
    from datapunk_broker import broker
    from datapunk_broker.conf import get_config

    if using == get_config().database:
        broker.sync()
