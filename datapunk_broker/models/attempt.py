"""An attempt that failed."""

from django.db import models

from datapunk_broker.models.fields import choice, loose_reference
from datapunk_broker.states import FailureReason


class Attempt(models.Model):
    """One failed attempt; those that succeed leave no row but the settled delivery."""

    message = loose_reference("datapunk_broker.Message")
    subscription = loose_reference("datapunk_broker.Subscription")
    attempt = models.PositiveIntegerField()
    reason = choice(FailureReason)
    error_class = models.CharField(max_length=255, blank=True)
    error_message = models.TextField(blank=True)
    failed_at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=["message", "subscription"], name="broker_attempt_pair"),)
        ordering = ("pk",)

    def __str__(self) -> str:
        return f"attempt {self.attempt} of {self.message_id} to {self.subscription_id}"
