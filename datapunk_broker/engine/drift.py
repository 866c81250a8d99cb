"""Say where the database is not what was declared, because people changed it there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from datapunk_broker.conf import SubscriptionConfig, TopicConfig, get_config
from datapunk_broker.engine.configs import differing, plain, subscription_config, topic_config
from datapunk_broker.exceptions import ConfigInvalidError
from datapunk_broker.models import Subscription, Topic

C = TypeVar("C", TopicConfig, SubscriptionConfig)

TOPICS, SUBSCRIPTIONS = "topics", "subscriptions"
"""The kinds of what is declared."""


@dataclass(frozen=True, slots=True)
class Drift:
    """An option of a topic or subscription (``kind``: "topics" or "subscriptions"); both values are JSON."""

    kind: str
    name: str
    field: str
    declared: Any
    actual: Any


def drift(
    topics: Iterable[TopicConfig], subscriptions: Iterable[SubscriptionConfig], *, using: str
) -> tuple[Drift, ...]:
    """Return where the database is not as declared; what is missing is no drift: ``sync`` makes it.

    Raises ConfigInvalidError for a name that is declared twice.
    """
    by_topic, by_subscription = by_name(TOPICS, topics), by_name(SUBSCRIPTIONS, subscriptions)
    found = []
    for topic in Topic.objects.using(using).live().filter(name__in=by_topic).order_by("pk"):
        found += drift_of(TOPICS, by_topic[topic.name], topic_config(topic))
    for row in subscription_rows(by_subscription, using):
        found += drift_of(SUBSCRIPTIONS, by_subscription[row.name], subscription_config(row))
    return tuple(found)


def drift_of(kind: str, config: C, actual: C) -> list[Drift]:
    """Return where one row, as the config that would make it, differs from its declaration."""
    declared, found = plain(config), plain(actual)
    if kind == TOPICS and declared["type"] is None:
        declared["type"] = get_config().topic_type.value
    return [Drift(kind, config.name, name, declared[name], found[name]) for name in differing(found, declared)]


def by_name(kind: str, configs: Iterable[C]) -> dict[str, C]:
    """Return declarations by their names; raises ConfigInvalidError for one that is there twice."""
    named: dict[str, C] = {}
    for config in configs:
        if named.setdefault(config.name, config) is not config:
            raise ConfigInvalidError(f"{kind}.{config.name}", "is declared twice")
    return named


def subscription_rows(
    declared: Mapping[str, SubscriptionConfig], using: str, *, lock: bool = False
) -> Iterable[Subscription]:
    """Return the live rows of declared subscriptions, with their topics and bindings."""
    rows = Subscription.objects.using(using).listed().filter(name__in=declared).order_by("pk")
    rows = rows.select_for_update(no_key=True, of=("self",)) if lock else rows
    return rows.select_related("topic").prefetch_related("bindings")
