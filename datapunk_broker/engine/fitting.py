"""Refuse a topic or subscription that contradicts itself or its surroundings."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from django.db.models import Prefetch

from datapunk_broker.conf import SubscriptionConfig, TopicConfig, check_subscription, check_topic, get_config
from datapunk_broker.engine.configs import is_persistent, subscription_config, topic_config
from datapunk_broker.exceptions import BrokerError, ConfigInvalidError
from datapunk_broker.models import Binding, Subscription, Topic
from datapunk_broker.payload import decode, encode
from datapunk_broker.states import Transport
from datapunk_broker.transports.webhook import check_endpoint

FELT_BY_SUBSCRIPTIONS = {"type", "persistent", "delivery_mode"}
"""Options of a topic that decide what its subscriptions may be."""


def fit_topic(config: TopicConfig) -> TopicConfig:
    """Return a topic as it can be kept, its type resolved, or refuse it.

    Raises ConfigInvalidError or DeliveryModeInvalidError.
    """
    check_topic(replace(config, persistent=is_persistent(config)))
    schema = None if config.schema is None else _fit_schema(config.schema)
    return replace(config, type=config.type or get_config().topic_type, schema=schema)


def fit_subscription(config: SubscriptionConfig, topic: TopicConfig) -> None:
    """Refuse a subscription that its topic (its type resolved) cannot serve.

    Raises ConfigInvalidError, BindingInvalidError, DeliveryModeInvalidError, EndpointRefusedError or
    NotPersistentError.
    """
    check_subscription(config, get_config(), topic)
    if config.transport is Transport.WEBHOOK:
        check_endpoint(config.endpoint_url or "", config.secret, get_config().webhook_allowed_networks)


def fit_subscriptions_of(topics: Iterable[Topic], *, using: str) -> None:
    """Refuse what became of these topics where a live subscription of theirs could not be served any more.

    Raises ConfigInvalidError that names the subscription.
    """
    bindings = Prefetch("bindings", queryset=Binding.objects.using(using))
    live = Subscription.objects.using(using).listed().filter(topic__in=[topic.pk for topic in topics])
    for row in live.select_related("topic").prefetch_related(bindings):
        with naming("subscriptions", row.name):
            fit_subscription(subscription_config(row), topic_config(row.topic))


@contextmanager
def naming(kind: str, name: str) -> Iterator[None]:
    """Say in whatever is refused within which topic or subscription is meant (ConfigInvalidError)."""
    try:
        yield
    except ConfigInvalidError as error:
        raise ConfigInvalidError(f"{kind}.{name}.{error.field}", error.problem) from error
    except BrokerError as error:
        raise ConfigInvalidError(f"{kind}.{name}", str(error)) from error


def _fit_schema(schema: Mapping[str, Any] | bool) -> dict[str, Any] | bool:  # noqa: FBT001 - a schema may be
    body = encode(schema)
    if rb"\u0000" in body.replace(rb"\\", b""):
        raise ConfigInvalidError("schema", "has a NUL, which cannot be stored")
    fitted: dict[str, Any] | bool = decode(body)
    return fitted
