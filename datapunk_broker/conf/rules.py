"""Which options contradict each other: pure, and the same for settings, admin, API and declarations."""

from datapunk_broker.conf.declarations import BindingConfig, SubscriptionConfig, TopicConfig
from datapunk_broker.conf.settings import BrokerConfig
from datapunk_broker.exceptions import (
    BindingInvalidError,
    ConfigInvalidError,
    DeliveryModeInvalidError,
    NotPersistentError,
)
from datapunk_broker.matching import check_binding
from datapunk_broker.payload import compile_schema
from datapunk_broker.states import DeliveryMode, SubscriptionMode, TopicType, Transport


def check_topic(topic: TopicConfig) -> None:
    """Refuse a topic whose options contradict each other, or whose schema is none.

    Raises ConfigInvalidError, or DeliveryModeInvalidError for a promise that storing nothing cannot keep.
    """
    if topic.schema is not None:
        compile_schema(topic.schema)
    if topic.dead_letter_topic == topic.name:
        raise ConfigInvalidError("dead_letter_topic", "is the topic itself: its dead letters would come round again")
    if topic.persistent is False and topic.delivery_mode not in (None, DeliveryMode.AT_MOST_ONCE):
        problem = f"{topic.name!r} stores no messages: it can deliver at_most_once, not {topic.delivery_mode}."
        raise DeliveryModeInvalidError(problem)


def check_subscription(
    subscription: SubscriptionConfig, config: BrokerConfig, topic: TopicConfig | None = None
) -> None:
    """Refuse a subscription whose options, with what it inherits, contradict each other.

    ``topic`` is its topic's options, when they are known; without it the settings stand for them.
    Raises ConfigInvalidError, BindingInvalidError, DeliveryModeInvalidError or NotPersistentError.
    """
    _check_transport(subscription)
    _check_delivery_mode(subscription, config, topic)
    _check_lease(subscription, config)
    _check_mode(subscription)
    for binding in subscription.bindings:
        _check_binding(binding, (topic.type or config.topic_type) if topic else None)
    if topic is not None and not (config.enable_persistence if topic.persistent is None else topic.persistent):
        _check_not_persistent(subscription)


def check_lease(ack_deadline: float, timeout: float) -> None:
    """Refuse a lease that ends while the handler may still run (seconds); raises ConfigInvalidError."""
    if ack_deadline < timeout:
        problem = (
            f"is {ack_deadline:g} s, shorter than the timeout of {timeout:g} s: the lease would end while "
            "the handler is at work, and it would run twice. Raise ack_deadline or lower timeout."
        )
        raise ConfigInvalidError("ack_deadline", problem)


def _check_transport(subscription: SubscriptionConfig) -> None:
    transport = subscription.transport
    if transport is Transport.STREAM:
        raise ConfigInvalidError("transport", "stream is the broker's own; a topic has one with stream=True")
    if transport is Transport.WEBHOOK and not subscription.endpoint_url:
        raise ConfigInvalidError("endpoint_url", "is missing: a webhook subscription needs one")
    for option in ("endpoint_url", "secret"):
        if transport is not Transport.WEBHOOK and getattr(subscription, option):
            raise ConfigInvalidError(option, f"is a webhook's; this subscription's transport is {transport}")
    if transport is not Transport.HANDLER and subscription.handler:
        raise ConfigInvalidError("handler", f"is for the transport handler; this subscription's is {transport}")


def _check_delivery_mode(subscription: SubscriptionConfig, config: BrokerConfig, topic: TopicConfig | None) -> None:
    inherited = (topic.delivery_mode if topic else None) or config.delivery_mode
    mode = subscription.delivery_mode or inherited
    if subscription.transport is Transport.WEBHOOK and mode is DeliveryMode.EXACTLY_ONCE:
        problem = (
            f"{subscription.name!r}: a webhook cannot promise exactly_once, for its effects are not in this "
            "database. Use at_least_once, and let the endpoint skip a webhook-id that it has seen: it is the "
            "same on every retry."
        )
        raise DeliveryModeInvalidError(problem)


def _check_lease(subscription: SubscriptionConfig, config: BrokerConfig) -> None:
    if subscription.transport is Transport.PULL:
        return  # who pulls has no timeout: the lease is all there is
    check_lease(
        config.ack_deadline if subscription.ack_deadline is None else subscription.ack_deadline,
        config.timeout if subscription.timeout is None else subscription.timeout,
    )


def _check_mode(subscription: SubscriptionConfig) -> None:
    if subscription.mode is SubscriptionMode.STREAMING:
        problem = (
            "streaming is not in this release: a flow of messages with credit is what the topic's stream gives "
            "to WebSocket and SSE readers (stream=True). Use individual or batch here."
        )
        raise ConfigInvalidError("mode", problem)
    is_batch = subscription.mode is SubscriptionMode.BATCH
    if is_batch and subscription.transport is Transport.WEBHOOK:
        raise ConfigInvalidError("mode", "batch is not for webhooks: a request carries the bytes of one message")
    if subscription.batch_window and not is_batch:
        raise ConfigInvalidError("batch_window", f"only mode batch waits for more messages, not {subscription.mode}")


def _check_binding(binding: BindingConfig, topic_type: TopicType | None) -> None:
    if (binding.routing_key is None) == (binding.headers is None):
        problem = "A binding has either a routing_key or headers, and not both."
        raise BindingInvalidError(problem)
    # Of a topic that is not known, the binding itself says which types it can be for.
    kind = topic_type or (TopicType.TOPIC if binding.headers is None else TopicType.HEADERS)
    check_binding(kind, binding.routing_key, binding.headers)


def _check_not_persistent(subscription: SubscriptionConfig) -> None:
    if subscription.transport is not Transport.HANDLER:
        raise NotPersistentError(subscription.topic, f"the transport {subscription.transport}")
    if subscription.ordering:
        raise NotPersistentError(subscription.topic, "ordering")
    if subscription.delivery_mode not in (None, DeliveryMode.AT_MOST_ONCE):
        raise NotPersistentError(subscription.topic, str(subscription.delivery_mode))
