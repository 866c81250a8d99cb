"""A rule: one condition under which a subscription gets a message."""

from dataclasses import dataclass
from typing import Protocol

from datapunk_broker.envelope import Headers
from datapunk_broker.states import TopicType


@dataclass(frozen=True, slots=True)
class Rule:
    """One binding of one subscription: a key or pattern (DIRECT, TOPIC), or header arguments (HEADERS)."""

    subscription: int
    routing_key: str | None = None
    headers: Headers | None = None


class Matcher(Protocol):
    """The compiled rules of a topic; threads may share it."""

    def match(self, routing_key: str, headers: Headers) -> tuple[int, ...]:
        """Return the subscriptions that get this message: ascending, each once."""


def default_rules(type: TopicType, subscription_id: int, name: str) -> Rule:  # noqa: A002 - as the column says
    """Return the rule of a subscription that has no bindings.

    FANOUT, TOPIC (``#``) and HEADERS (no arguments, which match under ``x-match: all``): every message.
    DIRECT: the messages addressed to the subscription's own name.
    """
    if type == TopicType.DIRECT:
        return Rule(subscription_id, routing_key=name)
    if type == TopicType.TOPIC:
        return Rule(subscription_id, routing_key="#")
    if type == TopicType.HEADERS:
        return Rule(subscription_id, headers={})
    return Rule(subscription_id)
