"""Say who would get a message, and why or why not, by what the database holds now."""

from dataclasses import dataclass

from datapunk_broker.engine.routes import rules_of, subscriptions_of
from datapunk_broker.envelope import Headers
from datapunk_broker.exceptions import TopicNotFoundError
from datapunk_broker.matching import check_routing_key
from datapunk_broker.matching import explain as explain_rule
from datapunk_broker.models import Subscription, Topic
from datapunk_broker.payload import check_headers
from datapunk_broker.states import SubscriptionState, TopicType, Transport

HELD = {
    SubscriptionState.PAUSED: "it is paused, and delivers nothing until it is resumed",
    SubscriptionState.DISABLED: "the broker disabled it, and it delivers nothing until it is resumed",
}
"""What is said of a subscription that does not deliver."""


@dataclass(frozen=True, slots=True)
class Explained:
    """One subscription; ``because`` is a sentence without its full stop."""

    name: str
    matches: bool
    because: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Every subscription of the topic, and the names of those that match; both by name."""

    matches: tuple[str, ...]
    subscriptions: tuple[Explained, ...]


def explain(topic: str, *, routing_key: str = "", headers: Headers | None = None, using: str) -> Explanation:
    """Explain where a message with this key and these headers would go; nothing is published.

    Raises TopicNotFoundError or PayloadInvalidError.
    """
    check_routing_key(routing_key)
    given = {} if headers is None else headers
    check_headers(given)
    row = Topic.objects.using(using).live().named(topic).first()
    if row is None:
        raise TopicNotFoundError(topic)
    people = [s for s in subscriptions_of(row, using) if s.transport != Transport.STREAM]
    kind = TopicType(row.type)
    everyone = tuple(_explain(s, kind, routing_key, given) for s in sorted(people, key=lambda s: s.name))
    return Explanation(tuple(each.name for each in everyone if each.matches), everyone)


def _explain(subscription: Subscription, kind: TopicType, routing_key: str, headers: Headers) -> Explained:
    told = [explain_rule(kind, rule, routing_key, headers) for rule in rules_of(subscription, kind)]
    matches = any(hit for hit, _ in told)
    because = "; ".join(because for hit, because in told if hit == matches)
    if kind != TopicType.FANOUT and not subscription.bindings.all():
        because = f"it has no bindings of its own, so by default {because}"
    held = HELD.get(SubscriptionState(subscription.state))
    return Explained(subscription.name, matches, f"{because}; {held}" if held else because)
