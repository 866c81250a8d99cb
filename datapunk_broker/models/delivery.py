"""A delivery: one message on its way to one subscription, for as long as it is not settled."""

from django.db import models
from django.db.models import Q

from datapunk_broker.models.clock import Clocked, ClockedQuerySet
from datapunk_broker.models.fields import choice, loose_reference, one_of
from datapunk_broker.states import DeliveryState

READY = Q(state=DeliveryState.READY)
CLAIMED = Q(state=DeliveryState.CLAIMED)
NO_CLAIM = Q(ack_token=None, lease_until=None)


class DeliveryQuerySet(ClockedQuerySet["Delivery"]):
    """The words for live deliveries."""

    def of(self, *subscription_ids: int) -> "DeliveryQuerySet":
        """Return those of these subscriptions."""
        return self.filter(subscription__in=subscription_ids)

    def locked(self, *, skip: bool = False) -> "DeliveryQuerySet":
        """Lock the rows as the broker locks everywhere: never against a publisher (no effect on SQLite)."""
        return self.select_for_update(no_key=True, skip_locked=skip, of=("self",))


class Delivery(Clocked):
    """One live delivery: narrow, because it is written three times in its life.

    attempt: attempts charged so far. claims: how often it was claimed. lapses: claims that ended without a
    report since the last one that did; from the first on it is claimed alone, so that a message that kills its
    worker takes no other down.
    ordering_key: the message's where the subscription is ordered, else NULL.
    """

    id = models.BigAutoField(primary_key=True)
    message = loose_reference("datapunk_broker.Message")
    subscription = loose_reference("datapunk_broker.Subscription")
    state = choice(DeliveryState)
    priority = models.PositiveSmallIntegerField()
    ordering_key = models.CharField(max_length=255, null=True)
    attempt = models.PositiveIntegerField(default=0)
    claims = models.PositiveIntegerField(default=0)
    lapses = models.PositiveIntegerField(default=0)
    published_at = models.DateTimeField()
    available_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    ack_token = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = (
            models.UniqueConstraint(fields=["message", "subscription"], name="broker_delivery_pair"),
            models.CheckConstraint(condition=one_of("state", DeliveryState), name="broker_delivery_state"),
            models.CheckConstraint(
                condition=(CLAIMED & Q(ack_token__isnull=False, lease_until__isnull=False)) | (~CLAIMED & NO_CLAIM),
                name="broker_delivery_claim",
            ),
        )
        indexes = (
            models.Index(
                "subscription_id",
                models.F("priority").desc(),
                "id",
                condition=READY & Q(lapses=0, ordering_key=None),
                name="broker_delivery_ready",
            ),
            models.Index(
                fields=["subscription", "ordering_key", "id"],
                condition=Q(ordering_key__isnull=False),
                name="broker_delivery_ordered",
            ),
            models.Index(
                fields=["subscription", "id"], condition=READY & Q(lapses__gt=0), name="broker_delivery_suspect"
            ),
            models.Index(
                fields=["available_at"], condition=Q(state=DeliveryState.SCHEDULED), name="broker_delivery_due"
            ),
            models.Index(fields=["subscription", "lease_until"], condition=CLAIMED, name="broker_delivery_lease"),
            models.Index(fields=["expires_at"], condition=Q(expires_at__isnull=False), name="broker_delivery_expiry"),
        )

    def __str__(self) -> str:
        return f"{self.message_id} to {self.subscription_id}"
