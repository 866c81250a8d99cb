"""The peer: a table of messages as a project writes it for itself."""

from typing import Any

from django.db import connection, models


class Message(models.Model):
    """One message, for one reader."""

    topic = models.CharField(max_length=100, db_index=True)
    payload = models.JSONField()
    status = models.CharField(max_length=10, default="new", db_index=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        app_label = "benchmarks"

    def __str__(self) -> str:
        return str(self.pk)


def make_table() -> None:
    """Make its table."""
    with connection.schema_editor() as editor:
        editor.create_model(Message)


def create(payload: Any, count: int) -> None:
    """Write messages one by one, a commit each."""
    for _ in range(count):
        Message.objects.create(topic="bench", payload=payload)


def bulk_create(payload: Any, count: int, batch: int) -> None:
    """Write messages a batch a commit."""
    for _ in range(count // batch):
        Message.objects.bulk_create([Message(topic="bench", payload=payload) for _ in range(batch)])
