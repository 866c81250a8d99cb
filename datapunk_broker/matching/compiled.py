"""Compile a topic's rules for many messages, and explain what one of them does."""

from collections.abc import Iterable
from reprlib import repr as short

from datapunk_broker.envelope import JSON, Headers
from datapunk_broker.matching.arguments import ByHeaders, Wish, typed
from datapunk_broker.matching.keys import MANY, ByKey, ByPattern
from datapunk_broker.matching.rule import Matcher, Rule
from datapunk_broker.states import TopicType


def compile_rules(type: TopicType, rules: Iterable[Rule]) -> Matcher:  # noqa: A002 - as the column says
    """Compile a topic's rules, once for many messages.

    A rule without what its type matches by (a TOPIC rule without a key, say) matches nothing:
    ``check_binding`` refuses it when it is saved, and one odd row must not fail somebody's publish.
    """
    if type == TopicType.DIRECT:
        return ByKey(rules)
    if type == TopicType.TOPIC:
        return ByPattern(rules)
    if type == TopicType.HEADERS:
        return ByHeaders(rules)
    return ByPattern(Rule(rule.subscription, MANY) for rule in rules)


def explain(type: TopicType, rule: Rule, routing_key: str, headers: Headers) -> tuple[bool, str]:  # noqa: A002
    """Say whether a rule matches, and in a sentence why or why not; the headers passed ``check_headers``."""
    matches = bool(compile_rules(type, [rule]).match(routing_key, headers))
    if type == TopicType.FANOUT:
        return matches, "a fanout topic gives every subscription each message"
    if type == TopicType.HEADERS:
        return matches, _because(rule, headers, matches=matches)
    if rule.routing_key is None:
        return matches, "the binding has no routing key, so it matches nothing"
    yes, no = ("equals", "does not equal") if type == TopicType.DIRECT else ("matches", "does not match")
    return matches, f"{rule.routing_key!r} {yes if matches else no} {routing_key!r}"


def _because(rule: Rule, headers: Headers, *, matches: bool) -> str:
    wish = Wish.of(rule.headers)
    if wish is None:
        return "the binding has no headers that can be compared, so it matches nothing"
    if not wish.arguments:
        mode, what = ("any", "nothing") if wish.anyone else ("all", "every message")
        return f"the binding names no header to compare, and {mode} of none matches {what}"
    compared = [_compared(name, wanted, headers) for name, wanted in wish.arguments.items()]
    return "; ".join(sentence for hit, sentence in compared if hit == matches)


def _compared(name: str, wanted: JSON, headers: Headers) -> tuple[bool, str]:
    if name not in headers:
        hit, state = False, "missing"
    else:
        hit, state = wanted is None or typed(headers[name]) == typed(wanted), short(headers[name])
    wish = "" if hit or wanted is None else f", the binding wants {short(wanted)}"
    return hit, f"header {name!r} is {state}{wish}"
