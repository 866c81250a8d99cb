"""Carry a topology from one database to another: read it as configs, and make it what configs say."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.engine.configs import subscription_config, topic_config
from datapunk_broker.engine.drift import SUBSCRIPTIONS
from datapunk_broker.engine.reconcile import Reconciliation, Report
from datapunk_broker.exceptions import ConfigInvalidError
from datapunk_broker.models import Subscription, Topic
from datapunk_broker.states import Transport


class Topology(NamedTuple):
    """The configs that would make what is there, by name; a webhook's secret is not among them."""

    topics: tuple[TopicConfig, ...]
    subscriptions: tuple[SubscriptionConfig, ...]


def export_topology(*, using: str) -> Topology:
    """Read every topic and subscription that people made, as configs without secrets."""
    topics = {row.name: topic_config(row) for row in Topic.objects.using(using).live()}
    rows = Subscription.objects.using(using).listed().select_related("topic").prefetch_related("bindings")
    configs = {row.name: replace(subscription_config(row), secret=None) for row in rows if row.topic.name in topics}
    # By Python's order: a database has its own.
    return Topology(tuple(topics[name] for name in sorted(topics)), tuple(configs[name] for name in sorted(configs)))


def import_topology(
    topics: Iterable[TopicConfig], subscriptions: Iterable[SubscriptionConfig], *, using: str
) -> Report:
    """Make these topics and subscriptions exactly as given, all or nothing; no other is touched, none deleted.

    A second import changes nothing. A webhook given without a secret keeps the one it has. What was declared stays
    declared, and differs from it as if changed by hand. Raises TooManySubscribersError, or ConfigInvalidError that
    names the topic or subscription.
    """
    return _Import.of(topics, subscriptions, using).run()


@dataclass
class _Import(Reconciliation):
    """What is given is held against what is there, whatever was declared."""

    declares = False

    def _topics(self) -> None:
        self._refuse_strangers()
        super()._topics()

    def _topic_from(self, row: Topic, config: TopicConfig) -> TopicConfig:  # noqa: ARG002 - the row has no say
        return config

    def _subscription_from(self, row: Subscription, config: SubscriptionConfig) -> SubscriptionConfig:
        here = subscription_config(row)
        if here.topic != config.topic:
            problem = f"is {here.topic!r} and cannot change: delete the subscription, or give this one another name"
            raise ConfigInvalidError("topic", problem)
        kept = here.secret if config.transport is Transport.WEBHOOK else None
        return replace(config, secret=config.secret or kept)

    def _refuse_strangers(self) -> None:
        """Refuse a subscription to a topic that is neither given nor there."""
        strangers = {config.topic for config in self.given.values()} - self.given_topics.keys()
        here = Topic.objects.using(self.using).live().filter(name__in=strangers).values_list("name", flat=True)
        unknown = strangers.difference(here)
        for config in self.given.values():
            if config.topic in unknown:
                problem = f"{config.topic!r} is no topic in the database, nor among those given: add it to them"
                raise ConfigInvalidError(f"{SUBSCRIPTIONS}.{config.name}.topic", problem)
