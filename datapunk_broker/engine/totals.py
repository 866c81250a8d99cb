"""Read what is exported: totals that only grow, and what waits; a constant few statements, each exact in itself."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from django.db.models import Count, Subquery, Value
from django.db.models.fields import UUIDField
from django.db.models.functions import Coalesce, Now

from datapunk_broker.engine.counts import Ended, backlogs, dead_letters, ended, oldest_unacked
from datapunk_broker.engine.published import counted_before
from datapunk_broker.models import Message, Subscription, Topic, TrafficTotal
from datapunk_broker.states import BreakerState, DeliveryState, Settled


@dataclass(frozen=True, slots=True)
class TopicTotals:
    """One topic. published: how many messages ever were; of one that stores nothing, none."""

    name: str
    published: int


@dataclass(frozen=True, slots=True)
class SubscriptionTotals:
    """One subscription.

    ended: how many deliveries ended, and after how long, by outcome. backlog: live ones by state.
    oldest_unacked: seconds, 0 when nothing is due. dead_letters: open ones by reason. is_held: by its breaker.
    """

    name: str
    ended: Mapping[Settled, Ended]
    backlog: Mapping[DeliveryState, int]
    oldest_unacked: float
    dead_letters: Mapping[str, int]
    is_held: bool


@dataclass(frozen=True, slots=True)
class Totals:
    """All topics and subscriptions there are, the oldest first."""

    topics: tuple[TopicTotals, ...]
    subscriptions: tuple[SubscriptionTotals, ...]


def totals(*, using: str) -> Totals:
    """Read them; seven statements, whatever there is. The streams' own subscriptions are not among it."""
    topics = _published(using)
    waiting, over, letters = backlogs(using), ended(using), dead_letters(using)
    rows = Subscription.objects.using(using).listed().order_by("pk").values_list("pk", "name", "breaker_state", Now())
    return Totals(
        topics,
        tuple(
            SubscriptionTotals(
                name=name,
                ended={outcome: over[pk, outcome] for outcome in Settled},
                backlog={state: waiting[pk, state][0] for state in DeliveryState},
                oldest_unacked=oldest_unacked(pk, waiting, now) or 0.0,
                dead_letters=letters.get(pk, {}),
                is_held=breaker != BreakerState.CLOSED,
            )
            for pk, name, breaker, now in rows
        ),
    )


def _published(using: str) -> tuple[TopicTotals, ...]:
    counts = published_by_topic(using=using)
    topics = Topic.objects.using(using).live().order_by("pk").values_list("pk", "name")
    return tuple(TopicTotals(name, counts[pk]) for pk, name in topics)


def published_by_topic(*, using: str) -> Counter[int]:
    """Return how many messages were ever published to each topic, by its id; two statements.

    It adds what is counted to what came since: in one statement, because how far it is counted moves on meanwhile.

    That is never further back than it was before, which is said too: the planner has to know that these are few.
    """
    before = counted_before(using=using)
    counted = TrafficTotal.objects.using(using).of_topics().order_by().values_list("topic_id", "count")
    mark = TrafficTotal.objects.marks().values("counted_before")[:1]
    since = Coalesce(Subquery(mark), Value(before, output_field=UUIDField()))
    fresh = Message.objects.using(using).filter(id__gte=before).filter(id__gte=since).order_by()
    counts: Counter[int] = Counter()
    for topic, count in counted.union(fresh.values_list("topic_id").annotate(Count("pk")), all=True):
        counts[topic] += count
    return counts
