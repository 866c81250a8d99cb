"""Topics, subscriptions and declarations by the engine's own verbs, on the default database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from datapunk_broker import signals
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.engine import declared
from datapunk_broker.engine.publish import check_each, publish
from datapunk_broker.engine.reconcile import Report
from datapunk_broker.engine.routes import forget_routes
from datapunk_broker.engine.topology import create_subscription, create_topic
from datapunk_broker.envelope import Outgoing, Receipt
from datapunk_broker.models import Binding, Subscription, Topic

USING = "default"


def topic(name: str = "orders", **options: Any) -> Topic:
    forget_routes()  # of another test's topic of this name
    return create_topic(TopicConfig(name, **options), using=USING)


def subscribe(name: str = "billing", to: str = "orders", **options: Any) -> Subscription:
    return create_subscription(SubscriptionConfig(name, to, **options), using=USING)


def send(routing_key: str = "", *, to: str = "orders", **options: Any) -> Receipt:
    [receipt] = publish(to, [Outgoing({"id": 7}, routing_key=routing_key, **options)], using=USING)
    return receipt


def check(topic: str, message: Outgoing[Any], *, using: str = USING) -> None:
    """Raise what publishing it would be refused for."""
    [problem] = check_each(topic, [message], using=using)
    if problem is not None:
        raise problem


def sync(*configs: TopicConfig | SubscriptionConfig) -> Report:
    topics = [config for config in configs if isinstance(config, TopicConfig)]
    subscriptions = [config for config in configs if isinstance(config, SubscriptionConfig)]
    return declared.sync(topics, subscriptions, using=USING)


def versions() -> dict[str, int]:
    return dict(Topic.objects.live().values_list("name", "routing_version"))


def patterns(name: str = "billing") -> list[str | None]:
    return list(Binding.objects.filter(subscription__name=name).values_list("routing_key", flat=True))


@contextmanager
def listening() -> Iterator[list[dict[str, Any]]]:
    """What is told of topics and breakers meanwhile."""
    told: list[dict[str, Any]] = []

    def listen(signal: object, sender: object, **event: Any) -> None:
        told.append(event)

    heard = (signals.topology_changed, signals.breaker_changed)
    for signal in heard:
        signal.connect(listen)
    try:
        yield told
    finally:
        for signal in heard:
            signal.disconnect(listen)
