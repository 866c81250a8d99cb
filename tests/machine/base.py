"""The machine's two sides, the model and the database, and what must hold between them after every step."""

from typing import Any
from uuid import UUID

from django.db import transaction
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant

from datapunk_broker import broker
from tests.machine.model import Model, Pair
from tests.machine.rows import Sub
from tests.machine.world import World

PICKS = st.one_of(st.none(), st.sets(st.integers(0, 5), max_size=4))
"""Which of some things: None is all of them."""

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "ordered": {"ordering": True},
    "limited": {"max_in_flight": 2},
    "strict": {"ordering": True, "max_in_flight": 2},
    "pulled": {"transport": "pull"},
    "lined": {"transport": "pull", "ordering": True},
    "once": {"transport": "pull", "delivery_mode": "at_most_once"},
}

Handed = tuple[Pair, tuple[int, UUID]]
"""A claim that was handed out: what it is of, and the key that settles it."""


def picked(items: Any, picks: set[int] | None) -> list[Any]:
    """Return the picked ones, counted from the newest."""
    newest = list(items)[::-1]
    return newest if picks is None else [item for at, item in enumerate(newest) if at in picks]


class Base(RuleBasedStateMachine):
    """handed: every claim that a worker still remembers, long settled or not. last: the number published last."""

    def __init__(self) -> None:
        super().__init__()
        self.undone = transaction.atomic()
        self.undone.__enter__()
        self.world, self.model = World(), Model()
        self.handed: list[Handed] = []
        self.last, self.subscribed = 0, 0
        self.note_stream()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.undone.__exit__(None, None, None)

    def note_stream(self) -> None:
        pk = self.world.stream()
        if pk is not None and pk not in self.model.subs:
            self.model.subs[pk] = Sub("stream", streams=True)

    def subscribe(self, kind: str, *, eu_only: bool) -> int:
        self.subscribed += 1
        name, options = f"{kind}{self.subscribed}", KINDS[kind]
        bindings = ({"routing_key": "eu.*" if eu_only else "#"},)
        pk = self.world.subscribe(name, bindings=bindings, **options)
        self.model.subs[pk] = Sub(
            name,
            eu_only,
            ordering="ordering" in options,
            limit=options.get("max_in_flight"),
            pulled="transport" in options,
            once="delivery_mode" in options,
        )
        return pk

    def one_of(self, index: int, **facts: bool) -> int | None:
        """Return the subscription that a draw means, of those of which these facts are true."""
        found = [pk for pk, sub in self.model.listed().items() if all(getattr(sub, f) is v for f, v in facts.items())]
        return found[index % len(found)] if found else None

    def hand(self, pair: Pair, key: tuple[int, UUID]) -> None:
        self.model.claim(pair, key[1])
        self.handed.append((pair, key))

    def held(self, claims: list[Handed]) -> list[Handed]:
        pairs = self.model.held([(pair, key[1]) for pair, key in claims])
        return [(pair, key) for pair, key in claims if pair in pairs and self.model.live[pair].token == key[1]]

    @invariant()
    def what_must_hold(self) -> None:
        self.each_side_says_the_same_of_what_is_live()
        self.each_side_says_the_same_of_what_ended()
        self.what_was_published_is_kept_and_routed()
        self.the_stream_has_no_gap_and_nothing_twice()
        self.the_audit_balances()
        self.limits_and_order_hold()

    def each_side_says_the_same_of_what_is_live(self) -> None:
        expected: dict[int, list[Any]] = {}
        for (n, sub), o in self.model.live.items():
            row = (n, o.state, o.priority, o.key, o.attempt, o.claims, o.lapses, o.token)
            expected.setdefault(sub, []).append(row)
        assert self.world.live() == expected

    def each_side_says_the_same_of_what_ended(self) -> None:
        assert self.world.settled() == self.model.settled
        assert not self.model.settled.keys() & self.model.live.keys(), "live and settled"
        letters = {pair: (x.attempts, x.open, x.redrives) for pair, x in self.model.letters.items()}
        assert self.world.letters() == letters
        assert self.world.failures() == self.model.failures
        assert self.world.traffic() == self.model.traffic

    def what_was_published_is_kept_and_routed(self) -> None:
        assert self.world.messages() == {n: set(m.routed) for n, m in self.model.messages.items()}

    def the_stream_has_no_gap_and_nothing_twice(self) -> None:
        entries = self.world.entries()
        assert entries == [(position, n) for position, (n, _) in self.model.stream.items()]
        positions = [position for position, _ in entries]
        assert positions == list(range(self.model.head - len(entries) + 1, self.model.head + 1))
        assert len({n for _, n in entries}) == len(entries)

    def the_audit_balances(self) -> None:
        lines = {line.subscription: line for line in broker.audit()}
        assert lines.keys() == {sub.name for sub in self.model.listed().values()}
        for pk, sub in self.model.listed().items():
            line = lines[sub.name]
            assert line.ok, line
            assert line.balance == 0, line
            assert line.pending == len(self.model.owed_to(pk))
            assert line.matched == sum(pk in m.routed for m in self.model.messages.values())

    def limits_and_order_hold(self) -> None:
        for pk, sub in self.model.listed().items():
            claimed = [o for o in self.model.owed_to(pk).values() if o.state == "claimed"]
            assert sub.limit is None or len(claimed) <= sub.limit
            by_key = {(o.key, o.token) for o in claimed if o.key}
            assert len(by_key) == len({key for key, _ in by_key}), "two workers have one key"
