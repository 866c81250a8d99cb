"""A binding: one condition under which a subscription gets a message."""

from django.db import models
from django.db.models import Q

from datapunk_broker.models.routing import Routing, RoutingQuerySet
from datapunk_broker.models.subscription import Subscription


class BindingQuerySet(RoutingQuerySet["Binding"]):
    """Bumps the topics of what it writes."""


class Binding(Routing):
    """A routing key or pattern (DIRECT, TOPIC), or header arguments (HEADERS)."""

    ROUTING = frozenset({"subscription", "subscription_id", "routing_key", "headers"})
    PARENT = "subscription"
    TOPIC_OF_PARENT = "subscriptions"

    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, related_name="bindings")
    routing_key = models.CharField(max_length=255, null=True, blank=True)
    headers = models.JSONField(null=True, blank=True)

    objects = BindingQuerySet.as_manager()
    plain = models.Manager["Binding"]()

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
