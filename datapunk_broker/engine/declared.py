"""Bring declared topics and subscriptions into the database, and leave alone what people changed there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from django.db import transaction
from django.db.models import Q

from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.engine.configs import columns, differing, plain, subscription_config, topic_config
from datapunk_broker.engine.drift import SUBSCRIPTIONS, TOPICS, Drift, by_name, drift_of, subscription_rows
from datapunk_broker.engine.fitting import (
    FELT_BY_SUBSCRIPTIONS,
    fit_subscription,
    fit_subscriptions_of,
    fit_topic,
    naming,
)
from datapunk_broker.engine.keeping import (
    REROUTING,
    announce,
    change_subscription,
    change_topic,
    insert_subscriptions,
)
from datapunk_broker.engine.streams import keep_streams
from datapunk_broker.exceptions import BindingInvalidError, ConfigInvalidError, TopicNotFoundError
from datapunk_broker.models import Subscription, Topic

C = TypeVar("C", TopicConfig, SubscriptionConfig)


@dataclass(frozen=True, slots=True)
class Synced:
    """One topic or subscription (``kind``: "topics" or "subscriptions"), and the options that changed."""

    kind: str
    name: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a sync did with each declaration, and where the database is meant to differ."""

    created: tuple[Synced, ...]
    updated: tuple[Synced, ...]
    unchanged: tuple[Synced, ...]
    drifted: tuple[Drift, ...]


def sync(topics: Iterable[TopicConfig], subscriptions: Iterable[SubscriptionConfig], *, using: str) -> Report:
    """Create what is missing and change what was declared otherwise since last time, all or nothing.

    Nothing is deleted or resumed, and no option is touched that the declaration did not change. A topic that
    is only named by a subscription is made with the settings' defaults. A second sync changes nothing; of two
    at once, one waits for the other. Raises TooManySubscribersError, or ConfigInvalidError that names the
    declaration.
    """
    with transaction.atomic(using=using):
        run = _Sync(by_name(TOPICS, topics), by_name(SUBSCRIPTIONS, subscriptions), using)
        run.topics()
        run.subscriptions()
        run.settle()
    return run.report()


@dataclass
class _Sync:
    """One sync, in its transaction.

    rows: the locked topics by name. changed: topics to tell of, by name. rerouted: those whose publishers
    must read their bindings anew, by id. felt: those that all their subscriptions must be held against.
    """

    declared_topics: Mapping[str, TopicConfig]
    declared: Mapping[str, SubscriptionConfig]
    using: str
    rows: dict[str, Topic] = field(default_factory=dict)
    created: list[Synced] = field(default_factory=list)
    updated: list[Synced] = field(default_factory=list)
    unchanged: list[Synced] = field(default_factory=list)
    drifted: list[Drift] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)
    rerouted: set[int] = field(default_factory=set)
    felt: list[Topic] = field(default_factory=list)

    def topics(self) -> None:
        """Make the missing topics, lock all of them, and change those declared otherwise."""
        made = self._make_missing()
        named = Q(name__in={*self.declared_topics, *(s.topic for s in self.declared.values())})
        subscribed = Subscription.objects.using(self.using).listed().filter(name__in=self.declared).values("topic")
        live = Topic.objects.using(self.using).live().select_for_update(no_key=True)
        self.rows = {row.name: row for row in live.filter(named | Q(pk__in=subscribed)).order_by("pk")}
        for row in self.rows.values():
            # A rival may have made it first; the random version tells whose row it is.
            if made.get(row.name) == row.routing_version:
                self.created.append(Synced(TOPICS, row.name))
                self.changed.add(row.name)
            elif row.name in self.declared_topics:
                with naming(TOPICS, row.name):
                    self._change_topic(row, self.declared_topics[row.name])

    def subscriptions(self) -> None:
        """Make the missing subscriptions and change those declared otherwise."""
        here = {row.name: row for row in subscription_rows(self.declared, self.using, lock=True)}
        missing = []
        for name, config in self.declared.items():
            with naming(SUBSCRIPTIONS, name):
                if name in here:
                    self._change_subscription(here[name], config)
                else:
                    missing.append((self._topic_for(config), config))
        if missing:
            insert_subscriptions(missing, declared=True, using=self.using)
        self.created += [Synced(SUBSCRIPTIONS, config.name) for _, config in missing]
        for topic, _ in missing:
            self._reroute(topic)

    def settle(self) -> None:
        """Hold changed topics against all their subscriptions, and make publishers see what changed."""
        if self.felt:
            fit_subscriptions_of(self.felt, using=self.using)
        self.rerouted |= keep_streams(list(self.rows.values()), using=self.using)
        if self.rerouted:
            Topic.objects.using(self.using).filter(pk__in=self.rerouted).bump_routing()
        names = {row.name for row in self.rows.values() if row.pk in self.rerouted} | self.changed
        announce(sorted(names), sender=sync, using=self.using)

    def report(self) -> Report:
        return Report(
            created=tuple(self.created),
            updated=tuple(self.updated),
            unchanged=tuple(self.unchanged),
            drifted=tuple(self.drifted),
        )

    def _make_missing(self) -> dict[str, int]:
        """Insert the topics that are not there; return the routing versions that they were to have."""
        names = {*self.declared_topics, *(s.topic for s in self.declared.values())}
        here = set(Topic.objects.using(self.using).live().filter(name__in=names).values_list("name", flat=True))
        rows = []
        for name in sorted(names - here):
            with naming(TOPICS, name):
                config = self.declared_topics.get(name)
                fitted = fit_topic(config or TopicConfig(name))
                rows.append(Topic(name=name, **columns(fitted), declared=plain(config) if config else None))
        Topic.objects.using(self.using).bulk_create(rows, ignore_conflicts=True)
        return {row.name: row.routing_version for row in rows}

    def _change_topic(self, row: Topic, config: TopicConfig) -> None:
        declared = plain(config)
        news = differing(plain(TopicConfig(config.name)) | (row.declared or {}), declared)
        if not news:
            self._file(TOPICS, config, topic_config(row), set())
            return
        wanted = fit_topic(replace(topic_config(row), **{name: getattr(config, name) for name in news}))
        changed = change_topic(row, wanted, using=self.using, declared=declared)
        if changed:
            self._reroute(row)
        if changed & FELT_BY_SUBSCRIPTIONS:
            self.felt.append(row)
        self._file(TOPICS, config, wanted, changed)

    def _change_subscription(self, row: Subscription, config: SubscriptionConfig) -> None:
        declared, before, last = plain(config), subscription_config(row), row.declared or {}
        if before.topic != config.topic != last.get("topic"):
            problem = f"is {before.topic!r} and cannot change: delete the subscription, or declare another name"
            raise ConfigInvalidError("topic", problem)
        news = differing(plain(SubscriptionConfig(config.name, config.topic)) | last, declared)
        if not news:
            self._file(SUBSCRIPTIONS, config, before, set())
            return
        wanted = replace(before, **{name: getattr(config, name) for name in news if name != "topic"})
        self._fit(wanted, row.topic)
        changed = change_subscription(row, wanted, using=self.using, declared=declared)
        if changed & REROUTING:
            self._reroute(row.topic)
        if changed:
            self.changed.add(row.topic.name)
        self._file(SUBSCRIPTIONS, config, wanted, changed)

    def _topic_for(self, config: SubscriptionConfig) -> Topic:
        if config.topic not in self.rows:  # deleted at this very moment
            raise TopicNotFoundError(config.topic)
        self._fit(config, self.rows[config.topic])
        return self.rows[config.topic]

    def _fit(self, config: SubscriptionConfig, topic: Topic) -> None:
        try:
            fit_subscription(config, topic_config(topic))
        except BindingInvalidError as error:
            if topic.name in self.declared_topics:
                raise
            problem = f"{error} The topic {topic.name!r} is declared nowhere: declare it in TOPICS, with its type."
            raise BindingInvalidError(problem) from error

    def _reroute(self, topic: Topic) -> None:
        self.rerouted.add(topic.pk)
        self.changed.add(topic.name)

    def _file(self, kind: str, config: C, actual: C, changed: set[str]) -> None:
        filed = self.updated if changed else self.unchanged
        filed.append(Synced(kind, config.name, tuple(sorted(changed))))
        self.drifted += drift_of(kind, config, actual)
