"""A subscription: who gets a topic's messages, how, and what happens when that fails."""

from django.db import models
from django.db.models import Q

from datapunk_broker.conf import is_name
from datapunk_broker.models.clock import Clocked, ClockedQuerySet
from datapunk_broker.models.fields import choice, inherited_choice, one_of
from datapunk_broker.models.routing import Routing, RoutingQuerySet
from datapunk_broker.models.topic import Topic
from datapunk_broker.states import (
    BreakerState,
    DeliveryMode,
    RetryStrategy,
    SubscriptionMode,
    SubscriptionState,
    Transport,
)


class SubscriptionQuerySet(ClockedQuerySet["Subscription"]):
    """The words for subscriptions."""

    def live(self) -> "SubscriptionQuerySet":
        """Return those that are not deleted."""
        return self.exclude(state=SubscriptionState.DELETED)

    def listed(self) -> "SubscriptionQuerySet":
        """Return the live ones that people made: not the streams' own."""
        return self.live().exclude(transport=Transport.STREAM)

    def named(self, *names: str) -> "SubscriptionQuerySet":
        """Return those that are called so; what is no name at all, no subscription is called."""
        return self.filter(name__in=[name for name in names if is_name(name)])

    def of_topic(self, topic: Topic) -> "SubscriptionQuerySet":
        """Return those of one topic."""
        return self.filter(topic=topic)


class RoutingSubscriptionQuerySet(RoutingQuerySet["Subscription"], SubscriptionQuerySet):  # type: ignore[override]
    """The same, and bumps the topics of what it writes."""


class Subscription(Routing, Clocked):
    """One subscription; a NULL option takes the topic's, then the settings' default. Durations are seconds.

    restamp_until: since ``ordering`` was switched, the sweep looks until then for deliveries that missed it.
    """

    # Not ``state``: what is paused is routed to, and whoever deletes writes ``deleted_at`` (a CHECK says so).
    ROUTING = frozenset({"topic", "topic_id", "name", "transport", "ordering", "over_limit", "deleted_at"})
    PARENT = "topic"

    made_secret = ""  # On the row that a verb returns: the secret that this very verb made, to be shown once.
    TOPIC_OF_PARENT = "pk"

    topic = models.ForeignKey(Topic, on_delete=models.PROTECT, related_name="subscriptions")
    name = models.CharField(max_length=207)
    transport = choice(Transport, default=Transport.HANDLER)
    handler = models.CharField(max_length=500, blank=True, editable=False)
    mode = choice(SubscriptionMode, default=SubscriptionMode.INDIVIDUAL)
    delivery_mode = inherited_choice(DeliveryMode)
    ack_deadline = models.FloatField(null=True, blank=True)
    timeout = models.FloatField(null=True, blank=True)
    max_attempts = models.PositiveIntegerField(null=True, blank=True)
    retry_strategy = inherited_choice(RetryStrategy)
    retry_delay = models.FloatField(null=True, blank=True)
    backoff_factor = models.FloatField(null=True, blank=True)
    max_retry_delay = models.FloatField(null=True, blank=True)
    jitter = models.FloatField(null=True, blank=True)
    batch_size = models.PositiveIntegerField(null=True, blank=True)
    batch_window = models.FloatField(null=True, blank=True)
    max_in_flight = models.PositiveIntegerField(null=True, blank=True)
    ordering = models.BooleanField(default=False)
    breaker = models.JSONField(null=True, blank=True)
    endpoint_url = models.CharField(max_length=2000, blank=True)
    secret = models.CharField(max_length=200, blank=True, editable=False)
    previous_secret = models.CharField(max_length=200, blank=True, editable=False)
    state = choice(SubscriptionState, default=SubscriptionState.ACTIVE)
    over_limit = models.BooleanField(default=False, editable=False)
    breaker_state = choice(BreakerState, default=BreakerState.CLOSED, editable=False)
    breaker_failures = models.PositiveIntegerField(default=0, editable=False)
    breaker_until = models.DateTimeField(null=True, editable=False)
    restamp_until = models.DateTimeField(null=True, editable=False)
    declared = models.JSONField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    deleted_at = models.DateTimeField(null=True, editable=False)

    objects = RoutingSubscriptionQuerySet.as_manager()
    plain = SubscriptionQuerySet.as_manager()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["name"], condition=~Q(state=SubscriptionState.DELETED), name="broker_subscription_name"
            ),
            models.CheckConstraint(
                condition=Q(state=SubscriptionState.DELETED, deleted_at__isnull=False)
                | (~Q(state=SubscriptionState.DELETED) & Q(deleted_at=None)),
                name="broker_subscription_tombstone",
            ),
            models.CheckConstraint(condition=one_of("transport", Transport), name="broker_subscription_transport"),
            models.CheckConstraint(condition=one_of("mode", SubscriptionMode), name="broker_subscription_mode"),
            models.CheckConstraint(
                condition=one_of("delivery_mode", DeliveryMode), name="broker_subscription_delivery"
            ),
            models.CheckConstraint(condition=one_of("state", SubscriptionState), name="broker_subscription_state"),
            models.CheckConstraint(
                condition=Q(breaker_state=BreakerState.CLOSED, breaker_until=None)
                | (Q(breaker_state__in=[BreakerState.OPEN, BreakerState.HALF_OPEN], breaker_until__isnull=False)),
                name="broker_subscription_breaker",
            ),
        )
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name
