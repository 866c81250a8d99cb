"""The peer's table, and one that handlers write to."""

from django.db import models


class Message(models.Model):
    """A message as a project writes it for itself, for one reader."""

    topic = models.CharField(max_length=100)
    payload = models.JSONField()
    status = models.CharField(max_length=10, default="new", db_index=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return str(self.pk)


class Done(models.Model):
    """What a handler did."""

    number = models.BigIntegerField()

    def __str__(self) -> str:
        return str(self.number)
