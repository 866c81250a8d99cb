"""Stop a subscription whose endpoint is gone; what it is owed waits until somebody resumes it."""

from django.db import transaction
from django.utils import timezone

from datapunk_broker.engine.keeping import announce
from datapunk_broker.engine.roster import Subscriber
from datapunk_broker.models import Subscription
from datapunk_broker.states import SubscriptionState


def disable(subscriber: Subscriber, *, using: str) -> bool:
    """Disable an active subscription; not one that was paused, or given another endpoint, in the meantime."""
    active = Subscription.objects.using(using).filter(pk=subscriber.id, state=SubscriptionState.ACTIVE)
    url = subscriber.endpoint.url if subscriber.endpoint else ""
    with transaction.atomic(using=using):
        disabled = active.filter(endpoint_url=url).update(state=SubscriptionState.DISABLED, updated_at=timezone.now())
        if disabled:
            announce([subscriber.topic], sender=disable, using=using)
    return bool(disabled)
