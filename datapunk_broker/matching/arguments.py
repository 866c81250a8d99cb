"""HEADERS: find the rules whose arguments a message's headers meet."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import cast

from datapunk_broker.envelope import JSON, Headers
from datapunk_broker.matching.rule import Rule

X_MATCH = "x-match"
MODES = ("all", "any", "all-with-x", "any-with-x")
_PRESENT = object()

Fact = tuple[str, Hashable]  # a header's name with its typed value, or with _PRESENT


@dataclass(frozen=True, slots=True)
class Wish:
    """What a binding compares: its arguments, and whether ``any`` one of them is enough."""

    anyone: bool
    arguments: dict[str, JSON]

    @classmethod
    def of(cls, headers: Headers | None) -> "Wish | None":
        """Read a binding's headers; None when there are none, or ``x-match`` is no mode."""
        mode = None if headers is None else headers.get(X_MATCH, "all")
        if headers is None or mode not in MODES:
            return None
        with_x = mode.endswith("-with-x")
        compared = {n: v for n, v in headers.items() if n != X_MATCH and (with_x or not n.startswith("x-"))}
        return cls(mode.startswith("any"), compared)

    @property
    def facts(self) -> frozenset[Fact]:
        return frozenset((n, _PRESENT if v is None else typed(v)) for n, v in self.arguments.items())


class ByHeaders:
    """Each rule waits under one of its facts (``all``: its rarest; ``any``: each) until a message has it."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        alike: defaultdict[tuple[bool, frozenset[Fact]], set[int]] = defaultdict(set)
        for rule in rules:
            wish = Wish.of(rule.headers)
            if wish is not None:
                alike[wish.anyone, wish.facts].add(rule.subscription)
        self._always = alike.pop((False, frozenset()), set())
        self._waiting: defaultdict[Fact, list[tuple[frozenset[Fact], set[int]]]] = defaultdict(list)
        frequency = Counter(fact for anyone, facts in alike if not anyone for fact in facts)
        for (anyone, facts), ids in alike.items():
            for fact in facts if anyone else [min(facts, key=frequency.__getitem__)]:
                self._waiting[fact].append((frozenset() if anyone else facts, ids))

    def match(self, routing_key: str, headers: Headers) -> tuple[int, ...]:  # noqa: ARG002 - a Matcher's
        facts = {(name, said) for name, value in headers.items() for said in (typed(value), _PRESENT)}
        found = set(self._always)
        for fact in facts:
            for wanted, ids in self._waiting.get(fact, ()):
                if wanted <= facts:
                    found |= ids
        return tuple(sorted(found))


def typed(value: JSON) -> Hashable:
    """Return what equals another value's if and only if both are the same JSON value.

    Types never mix, save that JSON has one type of number: 1 equals 1.0. Objects ignore the order of names.
    """
    if isinstance(value, bool):
        return (bool, value)
    if isinstance(value, list | tuple):
        return (list, tuple(map(typed, value)))
    if isinstance(value, dict):
        return (dict, frozenset((name, typed(inner)) for name, inner in value.items()))
    return cast("Hashable", value)
