"""The stream of a topic: its messages in one order, at positions without a gap."""

from django.db import models

from datapunk_broker.models.fields import loose_reference
from datapunk_broker.models.topic import Topic


class StreamHead(models.Model):
    """Where a topic's stream ends; the row is the lock of whoever appends."""

    topic = models.OneToOneField(Topic, on_delete=models.CASCADE, primary_key=True, related_name="stream_head")
    position = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.topic_id} at {self.position}"


class StreamEntry(models.Model):
    """One message at one position, counted from 1."""

    pk = models.CompositePrimaryKey("topic_id", "position")
    topic = loose_reference("datapunk_broker.Topic")
    position = models.PositiveBigIntegerField()
    message = loose_reference("datapunk_broker.Message")
    appended_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "stream entries"
        indexes = (models.Index(fields=["message"], name="broker_stream_message"),)

    def __str__(self) -> str:
        return f"{self.topic_id}@{self.position}"
