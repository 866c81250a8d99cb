"""A settled delivery: what became of it, for as long as its message is kept."""

from django.db import models

from datapunk_broker.models.fields import choice, loose_reference
from datapunk_broker.states import Settled


class SettledDelivery(models.Model):
    """The end of one delivery. A message and a subscription have a live delivery or a settled one, never both.

    latency: seconds from publishing to settling. attempts: how many were made.
    """

    pk = models.CompositePrimaryKey("message_id", "subscription_id")
    message = loose_reference("datapunk_broker.Message")
    subscription = loose_reference("datapunk_broker.Subscription")
    outcome = choice(Settled)
    attempts = models.PositiveIntegerField()
    settled_at = models.DateTimeField()
    latency = models.FloatField()

    class Meta:
        verbose_name_plural = "settled deliveries"

    def __str__(self) -> str:
        return f"{self.message_id} to {self.subscription_id}: {self.outcome}"
