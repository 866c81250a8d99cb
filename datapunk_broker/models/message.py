"""A message: what was published, as the bytes that came."""

from django.db import models
from django.db.models import Q

from datapunk_broker.models.fields import choice, loose_reference
from datapunk_broker.states import Encoding


class Message(models.Model):
    """One published message: what was published never changes.

    id: UUIDv7, so the primary key is in the order of publishing. routed_to: the ids of the subscriptions that
    matched when it was published, and of those that a ``seek`` added since; ``audit`` holds the deliveries
    against it.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    topic = loose_reference("datapunk_broker.Topic")
    routing_key = models.CharField(max_length=255, blank=True)
    headers = models.JSONField(default=dict)
    body = models.BinaryField()
    encoding = choice(Encoding)
    content_type = models.CharField(max_length=200)
    priority = models.PositiveSmallIntegerField()
    ordering_key = models.CharField(max_length=255, null=True)
    idempotency_key = models.CharField(max_length=255, null=True)
    correlation_id = models.CharField(max_length=255, null=True)
    reply_to = models.CharField(max_length=200, null=True)
    routed_to = models.JSONField(default=list)
    published_at = models.DateTimeField()
    available_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    redriven_from = models.UUIDField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["topic", "idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
                name="broker_message_idempotency",
            ),
            models.CheckConstraint(condition=Q(priority__gte=0, priority__lte=9), name="broker_message_priority"),
        )
        indexes = (models.Index(fields=["topic", "id"], name="broker_message_topic"),)
        ordering = ("-id",)

    def __str__(self) -> str:
        return str(self.id)
