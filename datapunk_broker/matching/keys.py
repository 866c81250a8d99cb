"""DIRECT and TOPIC: find the rules that a routing key meets, as RabbitMQ reads AMQP 0-9-1."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import groupby

from datapunk_broker.envelope import Headers
from datapunk_broker.matching.rule import Rule

ONE, MANY = "*", "#"


class ByKey:
    """DIRECT: equal keys."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        keys: defaultdict[str | None, set[int]] = defaultdict(set)
        for rule in rules:
            keys[rule.routing_key].add(rule.subscription)
        self._keys = {key: tuple(sorted(ids)) for key, ids in keys.items()}

    def match(self, routing_key: str, headers: Headers) -> tuple[int, ...]:  # noqa: ARG002 - a Matcher's
        return self._keys.get(routing_key, ())


class _Place:
    """How far into patterns a key has come; where ``#`` led (``loops``), it may stay for any more words."""

    __slots__ = ("ends", "loops", "next")

    def __init__(self, *, loops: bool = False) -> None:
        self.next: dict[str, _Place] = {}
        self.loops = loops
        self.ends: tuple[int, ...] = ()

    def enter(self, places: "set[_Place]") -> None:
        places.add(self)
        if MANY in self.next:
            places.add(self.next[MANY])  # `#` also takes no word at all


class ByPattern:
    """TOPIC: one walk over the key's words, through all patterns at once.

    The patterns are a trie, and the walk keeps the set of places it may be at, so that ``#`` never makes it
    try again: the work is bounded by words x places.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._start = _Place()
        ends: defaultdict[_Place, set[int]] = defaultdict(set)
        for rule in rules:
            if rule.routing_key is not None:
                place = self._start
                for word in _tidied(rule.routing_key):
                    place = place.next.setdefault(word, _Place(loops=word == MANY))
                ends[place].add(rule.subscription)
        for place, ids in ends.items():
            place.ends = tuple(sorted(ids))

    def match(self, routing_key: str, headers: Headers) -> tuple[int, ...]:  # noqa: ARG002 - a Matcher's
        here: set[_Place] = set()
        self._start.enter(here)
        for word in _words(routing_key):
            following = {place for place in here if place.loops}
            for place in here:
                # A "*" or "#" in a published key finds the wildcard's own place, where any word leads.
                for step in (word, ONE):
                    if step in place.next:
                        place.next[step].enter(following)
            here = following
        ends = [place.ends for place in here if place.ends]
        return ends[0] if len(ends) == 1 else tuple(sorted(set().union(*ends)))


def _words(text: str) -> list[str]:
    return text.split(".") if text else []


def _tidied(pattern: str) -> Iterator[str]:
    """Write each run of wildcards as its ``*`` and then one ``#``: the same keys, in fewer places."""
    for wild, run in groupby(_words(pattern), key=(ONE, MANY).__contains__):
        words = list(run)
        yield from [ONE] * words.count(ONE) + [MANY] * (MANY in words) if wild else words
