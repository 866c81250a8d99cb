"""Traffic: what was settled, counted by appending, so that no hot row is ever updated."""

from typing import Any, Self

from django.db import models
from django.db.models import Q

from datapunk_broker.models.fields import choice, loose_reference
from datapunk_broker.states import Settled

LATENCY_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
"""Upper bounds, in seconds, of the latency histogram's buckets; a last bucket takes the rest."""


PUBLISHED = "published"
"""The outcome of what is counted of a topic."""

PRUNED = "pruned"
"""The outcome of those messages that were removed since."""


class Traffic(models.Model):
    """What one settled batch adds; the sweep folds these rows into ``TrafficMinute`` and ``TrafficTotal``.

    seconds: the latencies' sum. buckets: how many latencies fell into each bucket of ``LATENCY_BOUNDS``.
    """

    subscription = loose_reference("datapunk_broker.Subscription")
    minute = models.DateTimeField()
    outcome = choice(Settled)
    count = models.PositiveIntegerField()
    seconds = models.FloatField()
    buckets = models.JSONField()

    class Meta:
        verbose_name_plural = "traffic"

    def __str__(self) -> str:
        return f"{self.count} {self.outcome} by {self.subscription_id}"


class CountsQuerySet(models.QuerySet[Any]):
    """The words for counts, which are each of a subscription or of a topic."""

    def of_subscriptions(self) -> Self:
        """Return how deliveries ended."""
        return self.filter(subscription__isnull=False)

    def of_topics(self) -> Self:
        """Return what was published."""
        return self.filter(subscription=None, topic__isnull=False, outcome=PUBLISHED)

    def pruned(self) -> Self:
        """Return what was removed of that."""
        return self.filter(subscription=None, topic__isnull=False, outcome=PRUNED)

    def marks(self) -> Self:
        """Return the total that says how far topics are counted."""
        return self.filter(subscription=None, topic=None, outcome=PUBLISHED)


class TrafficMinute(models.Model):
    """A minute of a subscription (``outcome`` is how deliveries ended) or of a topic (``published``)."""

    PUBLISHED = PUBLISHED

    topic = loose_reference("datapunk_broker.Topic", null=True)
    subscription = loose_reference("datapunk_broker.Subscription", null=True)
    minute = models.DateTimeField()
    outcome = models.CharField(max_length=24)
    count = models.PositiveBigIntegerField()
    seconds = models.FloatField(default=0.0)
    buckets = models.JSONField(default=list)

    objects = CountsQuerySet.as_manager()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["subscription", "minute", "outcome"],
                condition=Q(subscription__isnull=False),
                name="broker_minute_subscription",
            ),
            models.UniqueConstraint(
                fields=["topic", "minute", "outcome"],
                condition=Q(subscription__isnull=True),
                name="broker_minute_topic",
            ),
        )

    def __str__(self) -> str:
        return f"{self.minute:%H:%M} {self.count} {self.outcome}"


class TrafficTotal(models.Model):
    """All there ever was of a subscription, by outcome, or of a topic (``published``): what minutes add up to.

    ``pruned`` is how many of a topic's messages were removed.

    One row is of none: its ``counted_before`` is the id below which all messages are in the counts of their topics;
    those above are counted when somebody asks.
    """

    PRUNED = PRUNED

    topic = loose_reference("datapunk_broker.Topic", null=True)
    subscription = loose_reference("datapunk_broker.Subscription", null=True)
    outcome = models.CharField(max_length=24)
    count = models.PositiveBigIntegerField(default=0)
    seconds = models.FloatField(default=0.0)
    buckets = models.JSONField(default=list)
    counted_before = models.UUIDField(null=True)

    objects = CountsQuerySet.as_manager()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["subscription", "outcome"],
                condition=Q(subscription__isnull=False),
                name="broker_total_subscription",
            ),
            models.UniqueConstraint(
                fields=["topic", "outcome"], condition=Q(subscription__isnull=True), name="broker_total_topic"
            ),
        )

    def __str__(self) -> str:
        return f"{self.count} {self.outcome}"
