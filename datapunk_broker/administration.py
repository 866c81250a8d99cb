"""The verbs that keep a broker: its topics and subscriptions, what is declared, and what is past its time."""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from datapunk_broker.conf import BrokerConfig, SubscriptionConfig, TopicConfig, get_config
from datapunk_broker.engine import prune as prune_engine
from datapunk_broker.engine import pull as pull_engine
from datapunk_broker.engine import read as read_engine
from datapunk_broker.engine import redrive as redrive_engine
from datapunk_broker.engine import sweep as sweep_engine
from datapunk_broker.engine import topology
from datapunk_broker.engine.counts import Ended
from datapunk_broker.engine.declared import sync as sync_declared
from datapunk_broker.engine.letters import Chosen
from datapunk_broker.engine.published import count_published
from datapunk_broker.engine.reconcile import Report, Synced
from datapunk_broker.engine.standby import Pumps, look_at_pumps
from datapunk_broker.engine.stream_ends import Head, heads, position_at
from datapunk_broker.engine.totals import SubscriptionTotals, TopicTotals, Totals
from datapunk_broker.engine.totals import totals as read_totals
from datapunk_broker.engine.transfer import Topology, export_topology, import_topology
from datapunk_broker.envelope import Settlement
from datapunk_broker.models import Subscription, Topic
from datapunk_broker.registry import registry

__all__ = ["Administration", "Ended", "Report", "SubscriptionTotals", "Synced", "TopicTotals", "Topology", "Totals"]


class Administration:
    """Half of ``MessageBroker``; what it refuses is a BrokerError.

    using: the alias of the database that the broker lives in, the settings' DATABASE by default.
    """

    def __init__(self, *, using: str | None = None) -> None:
        self._using = using

    @property
    def config(self) -> BrokerConfig:
        """What the settings say now."""
        return get_config()

    @property
    def using(self) -> str:
        """The alias of the database."""
        return self._using or self.config.database

    def create_topic(self, config: TopicConfig) -> Topic:
        """Make a topic."""
        return topology.create_topic(config, using=self.using)

    def update_topic(self, name: str, changes: Mapping[str, Any]) -> Topic:
        """Change a topic's options; publishers see them with their next message."""
        return topology.update_topic(name, changes, using=self.using)

    def delete_topic(self, name: str, *, force: bool = False) -> None:
        """Delete a topic and its subscriptions; while messages are pending only with ``force``."""
        topology.delete_topic(name, force=force, using=self.using)

    def create_subscription(self, config: SubscriptionConfig) -> Subscription:
        """Make a subscription: every message published after this commits and matches is its own."""
        registry.check_topic(config)
        return topology.create_subscription(config, using=self.using)

    def update_subscription(self, name: str, changes: Mapping[str, Any]) -> Subscription:
        """Change a subscription's options; ``bindings`` replace all that were."""
        return topology.update_subscription(name, changes, using=self.using)

    def delete_subscription(self, name: str) -> None:
        """Delete a subscription and what it is still owed."""
        topology.delete_subscription(name, using=self.using)

    def pause(self, subscription: str) -> Subscription:
        """Keep a subscription's messages without delivering them."""
        return topology.pause(subscription, using=self.using)

    def resume(self, subscription: str) -> Subscription:
        """Deliver them again."""
        return topology.resume(subscription, using=self.using)

    def with_messages(self, subscriptions: Collection[str]) -> set[str]:
        """Return which of these subscriptions a pull would find something in, were it the only one."""
        return pull_engine.with_messages(subscriptions, using=self.using)

    def release(self, ack_ids: Iterable[str], *, subscription: str | None = None) -> Settlement:
        """Hand back what was pulled and never looked at: at once, and no attempt is charged."""
        return pull_engine.release_pulled(ack_ids, subscription=subscription, using=self.using)

    def read_stream(
        self, topic: str, after: int = 0, limit: int = 100, *, max_bytes: int | None = None
    ) -> read_engine.StreamPage:
        """Read a topic's stream behind the position last seen; 0 is before the first message."""
        return read_engine.read(topic, after=after, limit=limit, max_bytes=max_bytes, using=self.using)

    def stream_ends(self, topic: str) -> read_engine.StreamPage:
        """Return where a topic's stream begins and ends, without its messages."""
        return read_engine.ends(topic, using=self.using)

    def stream_heads(self, topics: Collection[str]) -> dict[str, Head]:
        """Return where the streams of these topics end, of those that have one."""
        return heads(topics, using=self.using)

    def position_at(self, topic: str, moment: datetime) -> int:
        """Return the position behind which everything published at or after a moment lies."""
        return position_at(topic, moment, using=self.using)

    def sync(self) -> Report:
        """Make what is declared, in the settings and by handlers, and is not there yet; delete nothing."""
        declared = (*self.config.subscriptions, *registry.declared())
        return sync_declared(self.config.topics, declared, using=self.using)

    def export_topology(self) -> Topology:
        """Read all topics and subscriptions as the configs that would make them, without secrets."""
        return export_topology(using=self.using)

    def import_topology(self, topics: Iterable[TopicConfig], subscriptions: Iterable[SubscriptionConfig]) -> Report:
        """Make these topics and subscriptions exactly as given, all or nothing; delete nothing."""
        return import_topology(topics, subscriptions, using=self.using)

    def sweep(self) -> sweep_engine.Swept:
        """Find what is due, lapsed, expired or over its limit, and set it right."""
        return sweep_engine.sweep(using=self.using)

    def count_published(self) -> int:
        """Count what was published in the minutes that are over; return how many messages were new."""
        return count_published(using=self.using)

    def totals(self) -> Totals:
        """Read what is exported as metrics: exact, whether or not the minutes are counted."""
        return read_totals(using=self.using)

    def look_at_pumps(self, late: timedelta) -> Pumps:
        """Return where pumps stand by, and where deliveries have waited so long without any."""
        return look_at_pumps(late, using=self.using)

    def prune(self, *, progress: Callable[[int], None] | None = None) -> prune_engine.Pruned:
        """Remove what is past its retention."""
        return prune_engine.prune(using=self.using, progress=progress)

    def discard(self, dead_letters: Chosen) -> int:
        """Throw dead letters away; return how many."""
        return redrive_engine.discard(dead_letters, using=self.using)
