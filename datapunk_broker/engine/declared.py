"""Bring declared topics and subscriptions into the database, and leave alone what people changed there."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.engine.configs import differing, memory_of, plain, subscription_config, topic_config
from datapunk_broker.engine.drift import SUBSCRIPTIONS, TOPICS, drift_of
from datapunk_broker.engine.reconcile import Reconciliation, Report
from datapunk_broker.exceptions import BindingInvalidError, ConfigInvalidError
from datapunk_broker.models import Subscription, Topic


def sync(topics: Iterable[TopicConfig], subscriptions: Iterable[SubscriptionConfig], *, using: str) -> Report:
    """Create what is missing and change what was declared otherwise since last time, all or nothing.

    Nothing is deleted or resumed, and no option is touched that the declaration did not change. A topic that
    is only named by a subscription is made with the settings' defaults. A second sync changes nothing; of two
    at once, one waits for the other. Raises TooManySubscribersError, or ConfigInvalidError that names the
    declaration.
    """
    return _Sync.of(topics, subscriptions, using).run()


@dataclass
class _Sync(Reconciliation):
    """What is declared is held against what was declared before: only the news go into the row."""

    declares = True

    def _topic_from(self, row: Topic, config: TopicConfig) -> TopicConfig | None:
        here = topic_config(row)
        news = differing(plain(TopicConfig(config.name)) | (row.declared or {}), memory_of(config))
        wanted = replace(here, **{name: getattr(config, name) for name in news})
        self.drifted += drift_of(TOPICS, config, wanted)
        return wanted if news else None

    def _subscription_from(self, row: Subscription, config: SubscriptionConfig) -> SubscriptionConfig | None:
        here, last = subscription_config(row), row.declared or {}
        if here.topic != config.topic != last.get("topic"):
            problem = f"is {here.topic!r} and cannot change: delete the subscription, or declare another name"
            raise ConfigInvalidError("topic", problem)
        news = differing(plain(SubscriptionConfig(config.name, config.topic)) | last, memory_of(config))
        wanted = replace(here, **{name: getattr(config, name) for name in news if name != "topic"})
        self.drifted += drift_of(SUBSCRIPTIONS, config, wanted)
        return wanted if news else None

    def _fit(self, config: SubscriptionConfig, topic: Topic) -> None:
        try:
            super()._fit(config, topic)
        except BindingInvalidError as error:
            if topic.name in self.given_topics:
                raise
            problem = f"{error} The topic {topic.name!r} is declared nowhere: declare it in TOPICS, with its type."
            raise BindingInvalidError(problem) from error
