"""A dead letter: a delivery that was given up, and everything one needs to decide what to do with it."""

from django.db import models
from django.db.models import Q

from datapunk_broker.models.fields import choice, loose_reference
from datapunk_broker.states import FailureReason

LATEST = ("-dead_at", "-id")
OPEN, REDRIVEN = Q(redriven_at=None), Q(redriven_at__isnull=False)


class DeadLetterQuerySet(models.QuerySet["DeadLetter"]):
    """The words for dead letters."""

    def open(self) -> "DeadLetterQuerySet":
        """Return those that nobody has redriven."""
        return self.filter(OPEN)


class DeadLetter(models.Model):
    """One dead delivery. It stays, closed, when redriven, and opens again when the delivery dies again.

    redrives: how often it was redriven before. attempts: how many were made in the life that ended last.
    """

    topic = loose_reference("datapunk_broker.Topic")
    subscription = loose_reference("datapunk_broker.Subscription")
    message = loose_reference("datapunk_broker.Message")
    reason = choice(FailureReason)
    error_class = models.CharField(max_length=255, blank=True)
    error_message = models.TextField(blank=True)
    traceback = models.TextField(blank=True)
    attempts = models.PositiveIntegerField()
    first_failed_at = models.DateTimeField()
    dead_at = models.DateTimeField()
    redrives = models.PositiveIntegerField(default=0)
    redriven_at = models.DateTimeField(null=True)

    objects = DeadLetterQuerySet.as_manager()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["message", "subscription"], name="broker_dead_letter_pair"),)
        indexes = (
            models.Index(fields=[*LATEST], condition=OPEN, name="broker_dead_letter_open"),
            models.Index(fields=["subscription", *LATEST], condition=OPEN, name="broker_dead_letter_sub"),
            models.Index(fields=["topic", *LATEST], condition=OPEN, name="broker_dead_letter_topic"),
            models.Index(fields=["reason", *LATEST], condition=OPEN, name="broker_dead_letter_reason"),
            models.Index(fields=[*LATEST], condition=REDRIVEN, name="broker_dead_letter_redriven"),
        )
        ordering = LATEST

    def __str__(self) -> str:
        return f"{self.message_id} to {self.subscription_id}: {self.reason}"
