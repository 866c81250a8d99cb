"""Keep topics and subscriptions: make, change, pause, resume and delete them.

Every verb is one transaction. What is refused leaves the caller's transaction usable. Publishers never wait:
the topic's row is locked ``FOR NO KEY UPDATE``, before all else.
"""

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from datapunk_broker import signals
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.engine.configs import columns, merged, subscription_config, topic_config
from datapunk_broker.engine.fitting import (
    FELT_BY_SUBSCRIPTIONS,
    fit_subscription,
    fit_subscriptions_of,
    fit_topic,
)
from datapunk_broker.engine.keeping import (
    REROUTING,
    announce,
    change_subscription,
    change_topic,
    insert_subscriptions,
    insert_topic,
    lock_subscription,
    lock_topic,
    lock_with_topic,
)
from datapunk_broker.engine.kinds import ANY
from datapunk_broker.engine.streams import keep_streams
from datapunk_broker.exceptions import TopicBusyError
from datapunk_broker.models import Delivery, Subscription, Topic
from datapunk_broker.models.subscription import SubscriptionQuerySet
from datapunk_broker.states import BreakerState, SubscriptionState, Transport


def create_topic(config: TopicConfig, *, using: str) -> Topic:
    """Make a topic, and the stream that it asks for.

    Raises ConfigInvalidError (its field is ``name`` when that is taken) or DeliveryModeInvalidError.
    """
    config = fit_topic(config)
    with transaction.atomic(using=using):
        topic = Topic(name=config.name, **columns(config))
        insert_topic(topic, using=using)
        keep_streams([topic], using=using)
        announce([topic.name], sender=create_topic, using=using)
    return topic


def update_topic(name: str, changes: Mapping[str, Any], *, using: str) -> Topic:
    """Change some options of a topic, and its stream with them.

    Raises TopicNotFoundError; ConfigInvalidError, which names a subscription of the topic's that could not be
    served any more; or DeliveryModeInvalidError.
    """
    with transaction.atomic(using=using):
        topic = lock_topic(name, using=using)
        changed = change_topic(topic, fit_topic(merged(topic_config(topic), changes)), using=using)
        if changed & FELT_BY_SUBSCRIPTIONS:
            fit_subscriptions_of([topic], using=using)
        if keep_streams([topic], using=using) or changed:
            _bump(topic, using)
            announce([name], sender=update_topic, using=using)
    return topic


def delete_topic(name: str, *, force: bool = False, using: str) -> None:
    """Delete a topic and its subscriptions: publishers stop matching them at once, the sweep purges them.

    Raises TopicNotFoundError, or TopicBusyError while deliveries wait for its subscribers, unless ``force``.
    """
    with transaction.atomic(using=using):
        topic = lock_topic(name, using=using)
        subscriptions = Subscription.objects.using(using).live().of_topic(topic)
        if not force and (count := _pending(subscriptions.listed(), using)):
            raise TopicBusyError(name, count)
        locked = subscriptions.select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True)
        _tombstone(list(locked), using)
        Topic.objects.using(using).filter(pk=topic.pk).update(deleted_at=Now(), updated_at=Now())
        announce([name], sender=delete_topic, using=using)


def create_subscription(config: SubscriptionConfig, *, using: str) -> Subscription:
    """Subscribe to a topic. The topic's limit of subscribers holds however many ask at once.

    Raises TopicNotFoundError, TooManySubscribersError, ConfigInvalidError (its field is ``name`` when that is
    taken), BindingInvalidError, DeliveryModeInvalidError or NotPersistentError.
    """
    with transaction.atomic(using=using):
        topic = lock_topic(config.topic, using=using)
        fit_subscription(config, topic_config(topic))
        [subscription] = insert_subscriptions([(topic, config)], using=using)
        _bump(topic, using)
        announce([topic.name], sender=create_subscription, using=using)
    return subscription


def update_subscription(name: str, changes: Mapping[str, Any], *, using: str) -> Subscription:
    """Change some options of a subscription; ``bindings`` replace all it had.

    A new ``ordering`` also holds for the deliveries that wait; a new policy does not touch them.
    Raises SubscriptionNotFoundError, and what ``create_subscription`` raises.
    """
    with transaction.atomic(using=using):
        row = lock_with_topic(name, using=using)
        if changes.get("transport", row.transport) != Transport.HANDLER:
            changes = {"handler": "", **changes}
        if changes.get("transport", row.transport) != Transport.WEBHOOK:
            changes = {"endpoint_url": None, "secret": None, **changes}
        wanted = merged(subscription_config(row), changes)
        fit_subscription(wanted, topic_config(row.topic))
        changed = change_subscription(row, wanted, using=using)
        if changed & REROUTING:
            _bump(row.topic, using)
        if changed:
            announce([row.topic.name], sender=update_subscription, using=using)
    return row


def delete_subscription(name: str, *, using: str) -> None:
    """Delete a subscription: publishers stop matching it at once, the sweep purges what waits for it.

    Raises SubscriptionNotFoundError.
    """
    with transaction.atomic(using=using):
        row = lock_with_topic(name, using=using)
        _tombstone([row.pk], using)
        _bump(row.topic, using)
        announce([row.topic.name], sender=delete_subscription, using=using)


def pause(name: str, *, using: str) -> Subscription:
    """Hold a subscription's deliveries back; they go on gathering. Raises SubscriptionNotFoundError."""
    with transaction.atomic(using=using):
        row = lock_subscription(name, using=using)
        if row.state != SubscriptionState.PAUSED:
            row.state = SubscriptionState.PAUSED
            row.save(using=using, update_fields=["state", "updated_at"])
            announce([row.topic.name], sender=pause, using=using)
    return row


def resume(name: str, *, using: str) -> Subscription:
    """Let a paused or disabled subscription's deliveries flow again, and close its breaker.

    Raises SubscriptionNotFoundError.
    """
    with transaction.atomic(using=using):
        row = lock_subscription(name, using=using)
        was_closed = row.breaker_state == BreakerState.CLOSED
        if row.state != SubscriptionState.ACTIVE or not was_closed or row.breaker_failures:
            row.state, row.breaker_state = SubscriptionState.ACTIVE, BreakerState.CLOSED
            row.breaker_failures, row.breaker_until = 0, None
            breaker = ["breaker_state", "breaker_failures", "breaker_until"]
            row.save(using=using, update_fields=["state", *breaker, "updated_at"])
            announce([row.topic.name], sender=resume, using=using)
        if not was_closed:
            closed = {"subscription": name, "state": BreakerState.CLOSED, "until": None}
            signals.announce_on_commit(signals.breaker_changed, sender=resume, using=using, **closed)
    return row


def _pending(subscriptions: SubscriptionQuerySet, using: str) -> int:
    ids = list(subscriptions.values_list("pk", flat=True))  # named one by one, they are found by index
    return Delivery.objects.using(using).of(*ids).filter(ANY).count()


def _tombstone(subscriptions: list[int], using: str) -> None:
    Subscription.plain.using(using).filter(pk__in=subscriptions).update(
        state=SubscriptionState.DELETED, deleted_at=Now(), updated_at=Now()
    )


def _bump(topic: Topic, using: str) -> None:
    Topic.objects.using(using).filter(pk=topic.pk).bump_routing()
    topic.refresh_from_db(using=using, fields=["routing_version"])
