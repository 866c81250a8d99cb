"""Carry a topology from one database to another: read it as configs, and make it what configs say."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from django.db import transaction

from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.engine.configs import subscription_config, topic_config
from datapunk_broker.engine.declared import Report, Synced, _Sync
from datapunk_broker.engine.drift import SUBSCRIPTIONS, TOPICS, by_name
from datapunk_broker.engine.fitting import FELT_BY_SUBSCRIPTIONS, fit_subscription, fit_topic
from datapunk_broker.engine.keeping import REROUTING, change_subscription, change_topic
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
    with transaction.atomic(using=using):
        run = _Import(by_name(TOPICS, topics), by_name(SUBSCRIPTIONS, subscriptions), using)
        run.check_topics()
        run.topics()
        run.subscriptions()
        run.settle()
    return run.report()


@dataclass
class _Import(_Sync):
    """A sync that holds what is given against what is there, not against what was declared before."""

    def check_topics(self) -> None:
        """Refuse a subscription to a topic that is neither given nor there."""
        strangers = {s.topic for s in self.declared.values()} - self.declared_topics.keys()
        here = Topic.objects.using(self.using).live().filter(name__in=strangers).values_list("name", flat=True)
        unknown = strangers.difference(here)
        for subscription in self.declared.values():
            if subscription.topic in unknown:
                problem = f"{subscription.topic!r} is no topic in the database, nor among those given: add it to them"
                raise ConfigInvalidError(f"{SUBSCRIPTIONS}.{subscription.name}.topic", problem)

    def subscriptions(self) -> None:
        super().subscriptions()
        created = [item.name for item in self.created if item.kind == SUBSCRIPTIONS]
        Subscription.plain.using(self.using).listed().filter(name__in=created).update(declared=None)

    def _make_missing(self) -> dict[str, int]:
        made = super()._make_missing()
        Topic.plain.using(self.using).filter(routing_version__in=made.values()).update(declared=None)
        return made

    def _change_topic(self, row: Topic, config: TopicConfig) -> None:
        changed = change_topic(row, fit_topic(config), using=self.using)
        if changed:
            self._reroute(row)
        if changed & FELT_BY_SUBSCRIPTIONS:
            self.felt.append(row)
        self._note(TOPICS, row.name, changed)

    def _change_subscription(self, row: Subscription, config: SubscriptionConfig) -> None:
        before = subscription_config(row)
        if before.topic != config.topic:
            problem = f"is {before.topic!r} and cannot change: delete the subscription, or give this one another name"
            raise ConfigInvalidError("topic", problem)
        kept = before.secret if config.transport is Transport.WEBHOOK else None
        wanted = replace(config, secret=config.secret or kept)
        self._fit(wanted, row.topic)
        changed = change_subscription(row, wanted, using=self.using)
        if changed & REROUTING:
            self._reroute(row.topic)
        if changed:
            self.changed.add(row.topic.name)
        self._note(SUBSCRIPTIONS, row.name, changed)

    def _fit(self, config: SubscriptionConfig, topic: Topic) -> None:
        fit_subscription(config, topic_config(topic))

    def _note(self, kind: str, name: str, changed: set[str]) -> None:
        noted = self.updated if changed else self.unchanged
        noted.append(Synced(kind, name, tuple(sorted(changed))))
