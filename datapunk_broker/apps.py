"""Wire the app into Django, and have what is declared made whenever its tables were migrated."""

from typing import Any

from django.apps import AppConfig
from django.db import connections
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


def _sync(sender: AppConfig, using: str, **_: Any) -> None:
    from datapunk_broker import broker
    from datapunk_broker.conf import get_config

    if using != get_config().database:
        return
    # Another app's migrations may be all that ran, and one's own may have been undone.
    tables = {model._meta.db_table for model in sender.get_models()}
    if tables <= set(connections[using].introspection.table_names()):
        broker.sync()
