"""Count what there is: topics, subscriptions, backlogs, outcomes and dead letters."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count
from django.db.models.functions import Now

from datapunk_broker.engine.counts import backlogs, dead_letters, ended, oldest_unacked
from datapunk_broker.engine.totals import published_by_topic
from datapunk_broker.ids import first_id_at
from datapunk_broker.models import Message, Subscription, Topic, TrafficTotal
from datapunk_broker.states import (
    BreakerState,
    DeliveryState,
    Settled,
    SubscriptionState,
    TopicType,
    Transport,
)

RECENT = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class TopicStats:
    """One topic. messages: how many are kept. published_per_minute: how many came in the last minute."""

    name: str
    type: TopicType
    messages: int
    published_per_minute: int


@dataclass(frozen=True, slots=True)
class SubscriptionStats:
    """One subscription.

    backlog: live deliveries by state. oldest_unacked: seconds that the one waiting longest has been due, None
    when none is; a delivery is due from its time on, one that failed before from when it was published.
    settled: how many ended, by outcome, in all. dead_letters: the open ones by reason.
    """

    name: str
    topic: str
    transport: Transport
    state: SubscriptionState
    breaker_state: BreakerState
    backlog: Mapping[str, int]
    oldest_unacked: float | None
    settled: Mapping[str, int]
    dead_letters: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Stats:
    """Everything, by name. dead_letters: all open ones by reason, those of deleted subscriptions too."""

    topics: tuple[TopicStats, ...]
    subscriptions: tuple[SubscriptionStats, ...]
    dead_letters: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return the same as dicts and lists that JSON can say."""
        return asdict(self)


def stats(*, using: str) -> Stats:
    """Count; nine statements, whatever there is, and none walks over the messages that are kept.

    The streams' own subscriptions are not among it.
    """
    topics = list(Topic.objects.using(using).live().order_by("name").values_list("pk", "name", "type", Now()))
    letters = dead_letters(using)
    reasons: Counter[str] = Counter()
    for counts in letters.values():
        reasons.update(counts)
    if not topics:
        return Stats((), (), dict(reasons))
    now: datetime = topics[0][-1]
    kept = _messages(now, using)
    return Stats(
        topics=tuple(TopicStats(name, TopicType(kind), *kept.get(pk, (0, 0))) for pk, name, kind, _ in topics),
        subscriptions=_subscriptions(now, letters, using),
        dead_letters=dict(reasons),
    )


def _messages(now: datetime, using: str) -> dict[int, tuple[int, int]]:
    """Return how many messages a topic keeps, what was published less what was removed, and how many are recent."""
    kept = published_by_topic(using=using)
    kept.subtract(dict(TrafficTotal.objects.using(using).pruned().values_list("topic_id", "count")))
    new = Message.objects.using(using).filter(pk__gte=first_id_at(now, earlier=RECENT))
    recent = dict(new.order_by().values_list("topic_id").annotate(Count("pk")))
    return {topic: (max(0, count), recent.get(topic, 0)) for topic, count in kept.items()}


def _subscriptions(
    now: datetime, letters: Mapping[int, Mapping[str, int]], using: str
) -> tuple[SubscriptionStats, ...]:
    waiting, settled = backlogs(using), ended(using)
    rows = Subscription.objects.using(using).listed().select_related("topic").order_by("name")
    return tuple(
        SubscriptionStats(
            name=row.name,
            topic=row.topic.name,
            transport=Transport(row.transport),
            state=SubscriptionState(row.state),
            breaker_state=BreakerState(row.breaker_state),
            backlog={state.value: waiting[row.pk, state][0] for state in DeliveryState},
            oldest_unacked=oldest_unacked(row.pk, waiting, now),
            settled={outcome.value: settled[row.pk, outcome].count for outcome in Settled},
            dead_letters=letters.get(row.pk, {}),
        )
        for row in rows
    )
