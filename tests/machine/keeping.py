"""Rules: what time, crashes and people who keep the broker do."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from datapunk_broker import broker
from tests.machine import aging
from tests.machine.base import KINDS, PICKS, Base, picked
from tests.machine.delivering import INDEX
from tests.machine.model import Pair

LONG_AGO = 24_000


class Keeping(Base):
    # -- time

    @rule(picks=PICKS, crash=st.booleans(), sweeps=st.booleans())
    def lapse(self, picks: set[int] | None, crash: bool, sweeps: bool) -> None:
        """End leases; a worker that crashed also forgets them."""
        claims = picked(self.handed, picks)
        held = self.held(claims)
        aging.end_leases([key[0] for _, key in held])
        for pair, _ in held:
            self.model.live[pair].late = True
        if crash:
            self.handed = [claim for claim in self.handed if claim not in claims]
        if sweeps:
            self.sweep()

    @rule(index=INDEX, picks=PICKS, sweeps=st.booleans())
    def come_due(self, index: int, picks: set[int] | None, sweeps: bool) -> None:
        sub, pairs = self._some(index, picks, "scheduled")
        aging.come_due(sub, self.world.ids(n for n, _ in pairs))
        for pair in pairs:
            self.model.live[pair].wait -= LONG_AGO
        if sweeps:
            self.sweep()

    @rule(index=INDEX, picks=PICKS, sweeps=st.booleans())
    def outlive(self, index: int, picks: set[int] | None, sweeps: bool) -> None:
        sub, pairs = self._some(index, picks, "ready", "scheduled", "claimed")
        aging.outlive(sub, self.world.ids(n for n, _ in pairs))
        for pair in pairs:
            self.model.live[pair].expired = self.model.live[pair].mortal
        if sweeps:
            self.sweep()

    def _some(self, index: int, picks: set[int] | None, *states: str) -> tuple[int, list[Pair]]:
        subs = [pk for pk, sub in self.model.subs.items() if not sub.deleted]
        sub = subs[index % len(subs)] if subs else 0
        return sub, picked((p for p, owed in self.model.owed_to(sub).items() if owed.state in states), picks)

    @rule(back=st.integers(0, 5), hours=st.sampled_from([25, 200]))
    def age(self, back: int, hours: int) -> None:
        aging.age(self.world, self.model, self.last - back, hours)

    @rule()
    def sweep(self) -> None:
        broker.sweep()
        self.model.sweep()

    # -- people

    @rule(index=INDEX)
    def pause_or_resume(self, index: int) -> None:
        sub = self.one_of(index)
        if sub is not None:
            row = self.model.subs[sub]
            (broker.resume if row.paused else broker.pause)(row.name)
            row.paused = not row.paused

    @rule(kind=st.sampled_from(sorted(KINDS)), eu_only=st.booleans())
    def subscribe_again(self, kind: str, eu_only: bool) -> None:
        if len(self.model.listed()) < len(KINDS):
            self.subscribe(kind, eu_only=eu_only)

    @rule(index=INDEX)
    def unsubscribe(self, index: int) -> None:
        sub = self.one_of(index)
        if sub is not None:
            broker.unsubscribe(self.model.subs[sub].name)
            self.model.subs[sub].deleted = True

    @rule(index=INDEX)
    def rebind(self, index: int) -> None:
        sub = self.one_of(index)
        if sub is not None:
            row = self.model.subs[sub]
            row.eu_only = not row.eu_only
            bindings = [{"routing_key": "eu.*" if row.eu_only else "#"}]
            broker.update_subscription(row.name, {"bindings": bindings})

    @rule(index=INDEX)
    def order_or_not(self, index: int) -> None:
        sub = self.one_of(index)
        owed = self.model.owed_to(sub) if sub is not None else {}
        if sub is None or any(one.token for one in owed.values()):
            return  # what is claimed under no order cannot come into one
        row = self.model.subs[sub]
        row.ordering = not row.ordering
        broker.update_subscription(row.name, {"ordering": row.ordering})
        for (n, _), one in owed.items():
            one.key = self.model.messages[n].key if row.ordering else None

    # -- again

    @rule(picks=PICKS, dry=st.booleans())
    def redrive(self, picks: set[int] | None, dry: bool) -> None:
        open_ones = self._open_letters()
        chosen = [pair for pair in open_ones if pair in picked(open_ones, picks)]
        ids = self.world.letter_ids()
        done = broker.redrive({"ids": [ids[pair] for pair in chosen]}, dry_run=dry)
        assert (done.count, self.world.redriven(done.message_ids)) == (len(chosen), [n for n, _ in chosen])
        if not dry:
            self.model.redrive(chosen)

    @rule(back=INDEX)
    def redrive_edited(self, back: int) -> None:
        for pair in picked(self._open_letters(), {back}):
            self.last += 1
            ids = self.world.letter_ids()
            [made] = broker.redrive({"ids": [ids[pair]]}, self.last).message_ids
            self.world.numbers[made] = self.last
            self.model.redrive_edited(pair, self.last)

    def _open_letters(self) -> list[Pair]:
        """In the order of their ids, of subscriptions that are there."""
        open_ones = {pair for pair, letter in self.model.letters.items() if letter.open}
        return [p for p in self.world.letter_ids() if p in open_ones and p[1] in self.model.listed()]

    @rule(index=INDEX, back=INDEX)
    def seek_to_a_time(self, index: int, back: int) -> None:
        sub, moments = self.one_of(index), self.world.published_at()
        for n in picked(self.model.messages, {back}) if sub is not None else ():
            ahead = {other for other, at in moments.items() if at >= moments[n]}
            broker.seek(self.model.subs[sub].name, moments[n])
            self.model.seek(sub, moments.keys() - ahead, ahead)

    @rule(index=INDEX, back=st.integers(-1, 6))
    def seek_to_a_position(self, index: int, back: int) -> None:
        sub, to = self.one_of(index), max(0, self.model.head - back)
        if sub is not None:
            coming = {n for stream in self.model.streams() for n, _ in self.model.owed_to(stream)}
            behind = {n for position, (n, _) in self.model.stream.items() if position <= to}
            entered = {n for position, (n, _) in self.model.stream.items() if position > to}
            broker.seek(self.model.subs[sub].name, to)
            self.model.seek(sub, behind, entered | coming)
