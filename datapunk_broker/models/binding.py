"""A binding: one condition under which a subscription gets a message."""

from django.db import models
from django.db.models import Q

from datapunk_broker.models.subscription import Subscription


class Binding(models.Model):
    """A routing key or pattern (DIRECT, TOPIC), or header arguments (HEADERS)."""

    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, related_name="bindings")
    routing_key = models.CharField(max_length=255, null=True, blank=True)
    headers = models.JSONField(null=True, blank=True)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(routing_key__isnull=False, headers__isnull=True)
                | Q(routing_key__isnull=True, headers__isnull=False),
                name="broker_binding_kind",
            ),
        )
        ordering = ("pk",)

    def __str__(self) -> str:
        return repr(self.routing_key) if self.headers is None else str(self.headers)
