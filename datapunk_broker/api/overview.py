"""The broker as a whole: who would get a message, what there is, and whether the books balance."""

from collections import Counter
from dataclasses import asdict
from typing import Any

from msgspec import UNSET, Struct, UnsetType
from rest_framework.request import Request
from rest_framework.response import Response

from datapunk_broker import broker, rights
from datapunk_broker.api.described import operation
from datapunk_broker.api.door import Door, rows
from datapunk_broker.api.fields import Name, Object, ShortText
from datapunk_broker.api.pagination import Page
from datapunk_broker.api.reading import asked, parsed
from datapunk_broker.api.sharing import Shared
from datapunk_broker.api.subscriptions import seen_subscription
from datapunk_broker.api.topics import seen_topic
from datapunk_broker.models import Topic
from datapunk_broker.rights import Somebody
from datapunk_broker.states import BreakerState, SubscriptionState, TopicType, Transport


class Question(Struct, kw_only=True, forbid_unknown_fields=True):
    """A message that might be published."""

    topic: Name
    routing_key: ShortText = ""
    headers: Object = {}


class Explained(Struct):
    """One subscription, and why it would get the message or not."""

    name: str
    matches: bool
    because: str


class Explanation(Struct):
    """The names of the subscriptions that match, and every one with its reason."""

    matches: list[str]
    subscriptions: list[Explained]


class TopicStats(Struct):
    """One topic; ``messages`` are kept, ``published_per_minute`` came in the last one."""

    name: str
    type: TopicType
    messages: int
    published_per_minute: int


class SubscriptionStats(Struct):
    """One subscription; ``oldest_unacked`` in seconds."""

    name: str
    topic: str
    transport: Transport
    state: SubscriptionState
    breaker_state: BreakerState
    backlog: dict[str, int]
    oldest_unacked: float | None
    settled: dict[str, int]
    dead_letters: dict[str, int]


class Stats(Struct):
    """What there is, by name; dead letters by reason."""

    topics: list[TopicStats]
    subscriptions: list[SubscriptionStats]
    dead_letters: dict[str, int]


class AuditLine(Struct):
    """The books of one subscription: matched = acked + dead + expired + dropped + pending, or ``balance`` is not 0.

    ``balance`` is null where the topic keeps no history. ok: every matched message is accounted for once.
    """

    subscription: str
    topic: str
    published: int
    matched: int
    acked: int
    dead: int
    expired: int
    dropped: int
    pending: int
    balance: int | None
    missing: int
    surplus: int
    unrecorded: int
    ok: bool


class Audit(Page, kw_only=True):
    """All books, by subscription."""

    results: list[AuditLine]


class Audited(Struct, kw_only=True):
    """Whose books."""

    subscription: Name | UnsetType = UNSET


STATS, AUDIT = Shared(broker.stats), Shared(broker.audit)


def seen_names(user: Somebody) -> set[str]:
    """Return the names of the topics that somebody may see."""
    return set(rights.visible_topics(user, rows(Topic).filter(deleted_at=None)).values_list("name", flat=True))


def _audited(line: Any) -> AuditLine:
    return AuditLine(**asdict(line), ok=line.ok)


class Explain(Door):
    """Who would get a message."""

    room = "overview"

    @operation("explain", body=Question, answers={200: Explanation})
    def post(self, request: Request) -> Response:
        """Say which subscriptions would get such a message, and why the others not."""
        question = parsed(request, Question)
        seen_topic(request.user, question.topic)
        told = broker.explain(question.topic, question.routing_key, question.headers)
        each = [Explained(one.name, one.matches, one.because) for one in told.subscriptions]
        return Response(Explanation(list(told.matches), each))


class ShowStats(Door):
    """What there is."""

    room = "overview"

    @operation("read_stats", answers={200: Stats})
    def get(self, request: Request) -> Response:
        """Count topics, backlogs, outcomes and dead letters, of what one may see."""
        names = seen_names(request.user)
        if not names:
            return Response(Stats([], [], {}))
        counted = STATS.get()
        subscriptions = [SubscriptionStats(**asdict(s)) for s in counted.subscriptions if s.topic in names]
        reasons: Counter[str] = Counter()
        for subscription in subscriptions:
            reasons.update(subscription.dead_letters)
        topics = [TopicStats(**asdict(topic)) for topic in counted.topics if topic.name in names]
        return Response(Stats(topics, subscriptions, dict(reasons)))


class ShowAudit(Door):
    """Whether the books balance."""

    room = "overview"

    @operation("read_audit", query=Audited, answers={200: Audit})
    def get(self, request: Request) -> Response:
        """Hold what was published against what became of it, for each subscription that one may see."""
        name = asked(request, Audited).subscription
        if name is not UNSET:
            lines = broker.audit(seen_subscription(request.user, name).name)
            return Response(Audit(results=[_audited(line) for line in lines]))
        names = seen_names(request.user)
        lines = AUDIT.get() if names else ()
        return Response(Audit(results=[_audited(line) for line in lines if line.topic in names]))
