"""What a client asks for beside reading: to publish, and to settle what it pulled."""

from datetime import timedelta
from typing import Any

from datapunk_broker import broker, frames, rights, signals
from datapunk_broker.broker import Receipt, Settlement
from datapunk_broker.conf import get_config, is_name
from datapunk_broker.consumers.topics import require
from datapunk_broker.exceptions import BrokerError, ClaimLostError, QueueFullError, RoutingUnsettledError
from datapunk_broker.models import Topic
from datapunk_broker.observability.names import UNKNOWN
from datapunk_broker.rights import Action, Somebody

RETRY_AFTER = 1.0
"""Seconds after which a full backlog may have room again, or bindings that kept changing be settled."""

Settling = frames.Ack | frames.Nack | frames.Extend


def publish(user: Somebody, wish: frames.Publish, allowed: set[str]) -> Receipt:
    """Publish; ``allowed`` remembers the topics that the user was found to have the right to."""
    try:
        for topic in (wish.topic, wish.reply_to):  # a reply is published on behalf of who asks for it
            if topic is not None and topic not in allowed:
                require(user, Action.PUBLISH, topic)
                allowed.add(topic)
    except BrokerError as error:
        announce_refusal(user, wish.topic, error)
        raise
    return broker.publish(
        wish.topic,
        wish.payload,
        routing_key=wish.routing_key,
        headers=wish.headers,
        priority=wish.priority,
        ordering_key=wish.ordering_key,
        idempotency_key=wish.idempotency_key,
        delay=_duration(wish.delay),
        ttl=_duration(wish.ttl),
        correlation_id=wish.correlation_id,
        reply_to=wish.reply_to,
    )


def announce_refusal(user: Somebody, topic: str, error: BrokerError) -> None:
    """Tell that a publish was refused before the broker heard of it; of which topic, where the user sees that one."""
    rows = Topic.objects.using(get_config().database).live().filter(name=topic if is_name(topic) else "")
    known = topic if rights.visible_topics(user, rows).exists() else UNKNOWN
    signals.announce(signals.publish_refused, sender=publish, topic=known, code=error.code)


def settle(subscription: str, wish: Settling) -> None:
    """Settle or extend what was pulled; raises ClaimLostError with the ack ids that name no claim any more."""
    settlement = _settled(subscription, wish)
    if settlement.lost:
        raise ClaimLostError(settlement.lost)


def _settled(subscription: str, wish: Settling) -> Settlement:
    if isinstance(wish, frames.Ack):
        return broker.ack(wish.ack_ids, subscription=subscription)
    if isinstance(wish, frames.Nack):
        return broker.nack(wish.ack_ids, _duration(wish.delay), subscription=subscription)
    return broker.extend(wish.ack_ids, wish.by, subscription=subscription)


def refusal(error: BrokerError, **names: Any) -> frames.Error:
    """Return the frame that says why something was refused; ``names``: the sid or id of what was asked."""
    retry_after = RETRY_AFTER if isinstance(error, QueueFullError | RoutingUnsettledError) else None
    ack_ids = error.ack_ids if isinstance(error, ClaimLostError) else ()
    return frames.Error(error.code, str(error), retry_after=retry_after, ack_ids=ack_ids, **names)


def _duration(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
