"""Bring topics and subscriptions that are given as configs into the database, in one transaction."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from django.db import transaction
from django.db.models import Q

from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.engine.configs import columns, memory_of, topic_config
from datapunk_broker.engine.drift import SUBSCRIPTIONS, TOPICS, Drift, by_name, subscription_rows
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
from datapunk_broker.exceptions import TopicNotFoundError
from datapunk_broker.models import Subscription, Topic


@dataclass(frozen=True, slots=True)
class Synced:
    """One topic or subscription (``kind``: "topics" or "subscriptions"), and the options that changed."""

    kind: str
    name: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was done with each config, and where the database is meant to differ from what is declared."""

    created: tuple[Synced, ...]
    updated: tuple[Synced, ...]
    unchanged: tuple[Synced, ...]
    drifted: tuple[Drift, ...]


@dataclass
class Reconciliation(ABC):
    """One run, in its transaction; a kind of it says what a row that is there already should become.

    declares: whether the rows remember what was given, as their declaration.
    rows: the locked topics by name. changed: topics to tell of, by name. rerouted: those whose publishers
    must read their bindings anew, by id. felt: those that all their subscriptions must be held against.
    """

    declares: ClassVar[bool]

    given_topics: Mapping[str, TopicConfig]
    given: Mapping[str, SubscriptionConfig]
    using: str
    rows: dict[str, Topic] = field(default_factory=dict)
    created: list[Synced] = field(default_factory=list)
    updated: list[Synced] = field(default_factory=list)
    unchanged: list[Synced] = field(default_factory=list)
    drifted: list[Drift] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)
    rerouted: set[int] = field(default_factory=set)
    felt: list[Topic] = field(default_factory=list)

    @classmethod
    def of(cls, topics: Iterable[TopicConfig], subscriptions: Iterable[SubscriptionConfig], using: str) -> Self:
        """Return a run for these configs; raises ConfigInvalidError for a name that is given twice."""
        return cls(by_name(TOPICS, topics), by_name(SUBSCRIPTIONS, subscriptions), using)

    def run(self) -> Report:
        """Make the database so, all or nothing; of two runs at once, one waits for the other."""
        with transaction.atomic(using=self.using):
            self._topics()
            self._subscriptions()
            self._settle()
        return Report(
            created=tuple(self.created),
            updated=tuple(self.updated),
            unchanged=tuple(self.unchanged),
            drifted=tuple(self.drifted),
        )

    @abstractmethod
    def _topic_from(self, row: Topic, config: TopicConfig) -> TopicConfig | None:
        """Return what a topic should become; None leaves it alone."""

    @abstractmethod
    def _subscription_from(self, row: Subscription, config: SubscriptionConfig) -> SubscriptionConfig | None:
        """Return what a subscription should become; None leaves it alone."""

    def _topics(self) -> None:
        """Make the missing topics, lock all of them, and change the others."""
        made = self._make_missing()
        named = Q(name__in={*self.given_topics, *(s.topic for s in self.given.values())})
        subscribed = Subscription.objects.using(self.using).listed().filter(name__in=self.given).values("topic")
        live = Topic.objects.using(self.using).live().select_for_update(no_key=True)
        self.rows = {row.name: row for row in live.filter(named | Q(pk__in=subscribed)).order_by("pk")}
        for row in self.rows.values():
            # A rival may have made it first; the random version tells whose row it is.
            if made.get(row.name) == row.routing_version:
                self.created.append(Synced(TOPICS, row.name))
                self.changed.add(row.name)
            elif row.name in self.given_topics:
                with naming(TOPICS, row.name):
                    self._change_topic(row, self.given_topics[row.name])

    def _subscriptions(self) -> None:
        """Make the missing subscriptions and change the others."""
        here = {row.name: row for row in subscription_rows(self.given, self.using, lock=True)}
        missing = []
        for name, config in self.given.items():
            with naming(SUBSCRIPTIONS, name):
                if name in here:
                    self._change_subscription(here[name], config)
                else:
                    missing.append((self._topic_for(config), config))
        if missing:
            insert_subscriptions(missing, declared=self.declares, using=self.using)
        self.created += [Synced(SUBSCRIPTIONS, config.name) for _, config in missing]
        for topic, _ in missing:
            self._reroute(topic)

    def _settle(self) -> None:
        """Hold changed topics against all their subscriptions, and make publishers see what changed."""
        if self.felt:
            fit_subscriptions_of(self.felt, using=self.using)
        self.rerouted |= keep_streams(list(self.rows.values()), using=self.using)
        if self.rerouted:
            Topic.objects.using(self.using).filter(pk__in=self.rerouted).bump_routing()
        names = {row.name for row in self.rows.values() if row.pk in self.rerouted} | self.changed
        announce(sorted(names), sender=type(self), using=self.using)

    def _make_missing(self) -> dict[str, int]:
        """Insert the topics that are not there; return the routing versions that they were to have."""
        names = {*self.given_topics, *(s.topic for s in self.given.values())}
        here = set(Topic.objects.using(self.using).live().filter(name__in=names).values_list("name", flat=True))
        rows = []
        for name in sorted(names - here):
            with naming(TOPICS, name):
                config = self.given_topics.get(name)
                fitted = fit_topic(config or TopicConfig(name))
                rows.append(Topic(name=name, **columns(fitted), **(self._memory(config) if config else {})))
        Topic.objects.using(self.using).bulk_create(rows, ignore_conflicts=True)
        return {row.name: row.routing_version for row in rows}

    def _change_topic(self, row: Topic, config: TopicConfig) -> None:
        wanted = self._topic_from(row, config)
        if wanted is None:
            self.unchanged.append(Synced(TOPICS, row.name))
            return
        changed = change_topic(row, fit_topic(wanted), using=self.using, **self._memory(config))
        if changed:
            self._reroute(row)
        if changed & FELT_BY_SUBSCRIPTIONS:
            self.felt.append(row)
        self._note(TOPICS, row.name, changed)

    def _change_subscription(self, row: Subscription, config: SubscriptionConfig) -> None:
        wanted = self._subscription_from(row, config)
        if wanted is None:
            self.unchanged.append(Synced(SUBSCRIPTIONS, row.name))
            return
        self._fit(wanted, row.topic)
        changed = change_subscription(row, wanted, using=self.using, **self._memory(config))
        if changed & REROUTING:
            self._reroute(row.topic)
        if changed:
            self.changed.add(row.topic.name)
        self._note(SUBSCRIPTIONS, row.name, changed)

    def _topic_for(self, config: SubscriptionConfig) -> Topic:
        if config.topic not in self.rows:  # deleted at this very moment
            raise TopicNotFoundError(config.topic)
        self._fit(config, self.rows[config.topic])
        return self.rows[config.topic]

    def _fit(self, config: SubscriptionConfig, topic: Topic) -> None:
        fit_subscription(config, topic_config(topic))

    def _memory(self, config: TopicConfig | SubscriptionConfig) -> dict[str, Any]:
        return {"declared": memory_of(config)} if self.declares else {}

    def _reroute(self, topic: Topic) -> None:
        self.rerouted.add(topic.pk)
        self.changed.add(topic.name)

    def _note(self, kind: str, name: str, changed: set[str]) -> None:
        noted = self.updated if changed else self.unchanged
        noted.append(Synced(kind, name, tuple(sorted(changed))))
