"""Rules: what workers and pullers do, the late ones too."""

from collections.abc import Sequence

from hypothesis import strategies as st
from hypothesis.stateful import rule

from datapunk_broker import broker
from datapunk_broker.engine import claim as engine_claim
from datapunk_broker.engine.claim import claim, claim_guarded, claim_suspect
from datapunk_broker.engine.hold import extend, release
from datapunk_broker.engine.roster import subscribers
from datapunk_broker.engine.rows import Claimed
from datapunk_broker.engine.settle import Verdicts, settle
from datapunk_broker.envelope import ack_id_of, claim_of
from tests.machine.base import PICKS, Base, Handed, picked
from tests.machine.model import Pair

INDEX = st.integers(0, 6)
SHARE = st.sampled_from([1, 2, 3, 100])
HOURS = 10

ERRORS = {
    "reject": (broker.Reject("no"), None),
    "later": (broker.RetryAfter(HOURS * 3600.0), HOURS),
    "at once": (broker.RetryAfter(0), 0),
    "fails": (ValueError("no"), HOURS),
}


class Delivering(Base):
    # -- claims

    @rule(share=SHARE, limit=st.sampled_from([8, 100]))
    def claim(self, share: int, limit: int) -> None:
        subs = self._subs(guarded=False)
        rows = claim([self.world.wanted(sub, share) for sub in subs], limit=limit, using="default")
        busy = [sub for sub in subs if self.model.claimable(sub, 1)]
        fair = min(share, limit // max(1, len(busy)))
        self._take(rows, [pair for sub in busy for pair in self.model.claimable(sub, fair)])

    @rule(index=INDEX, share=SHARE, after=st.sampled_from(["", "a", "b"]), suspects_first=st.booleans())
    def claim_guarded(self, index: int, share: int, after: str, suspects_first: bool) -> None:
        subs = self._subs(guarded=True)
        if subs:
            sub = subs[index % len(subs)]
            expected = self._next(sub, share, after, suspects_first=suspects_first)
            rows = claim_guarded(self.world.subscriber(sub), share, after=after, using="default")
            self._take(rows, expected)

    @rule(index=INDEX)
    def claim_suspect(self, index: int) -> None:
        sub = self.one_of(index)
        if sub is not None:
            rows = claim_suspect(self.world.subscriber(sub), using="default")
            self._take(rows, self.model.suspects(sub))

    @rule(index=INDEX, share=SHARE, suspects_first=st.booleans())
    def pull(self, index: int, share: int, suspects_first: bool) -> None:
        sub = self.one_of(index, pulled=True)
        if sub is None:
            return
        after = engine_claim._last_keys.get(("default", sub), "")  # noqa: SLF001 - the process' memory of its turns
        expected = self._next(sub, share, after, suspects_first=suspects_first)
        received = broker.pull(self.model.subs[sub].name, share)
        assert [(message.payload, sub) for message in received] == expected
        for pair, message in zip(expected, received, strict=True):
            self.hand(pair, claim_of(message.ack_id))
            assert message.attempt == self.model.live[pair].claims
        if self.model.subs[sub].once:
            self.model.ack(expected)

    @rule()
    def serve_all(self) -> None:
        """A moment of health: whatever can be claimed is, and all of it is acked."""
        self._claim_all()
        self.ack(picks=None)

    @rule()
    def hand_over(self) -> None:
        """All goes back and to other workers; the former ones do not know it."""
        self.release(picks=None)
        self._claim_all()

    def _claim_all(self) -> None:
        self.claim(share=100, limit=1000)
        for at in range(len(self.model.listed())):
            self.claim_guarded(index=at, share=100, after="", suspects_first=False)
            self.claim_suspect(index=at)
            self.pull(index=at, share=100, suspects_first=False)

    def _next(self, sub: int, share: int, after: str, *, suspects_first: bool) -> list[Pair]:
        engine_claim.SUSPECTS_SHARE = float(suspects_first)  # all or none: what is drawn decides, not chance
        steps = [self.model.claimable(sub, share, after), self.model.suspects(sub)]
        return steps[suspects_first] or steps[not suspects_first]

    def _subs(self, *, guarded: bool) -> list[int]:
        subs = self.model.listed()
        return [pk for pk, sub in subs.items() if bool(sub.ordering or sub.limit) is guarded and not sub.once]

    def _take(self, rows: Sequence[Claimed], expected: list[Pair]) -> None:
        assert [self.world.pair(row) for row in rows] == expected
        for pair, row in zip(expected, rows, strict=True):
            self.hand(pair, row.key)
            assert row.attempt == self.model.live[pair].claims

    # -- settles

    @rule(picks=PICKS)
    def ack(self, picks: set[int] | None) -> None:
        claims, held = self._picked(picks)
        self._agree(broker.ack(_ack_ids(claims)), claims, held)
        self.model.ack([pair for pair, _ in held])

    @rule(picks=PICKS, kind=st.sampled_from(["reject", "later", "at once", "fails"]))
    def nack(self, picks: set[int] | None, kind: str) -> None:
        claims, held = self._picked(picks)
        ack_ids = _ack_ids(claims)
        wait = ERRORS[kind][1]
        if kind == "reject":
            settlement = broker.reject(ack_ids, "no")
        else:
            settlement = broker.nack(ack_ids, None if kind == "fails" else (wait or 0) * 3600.0)
        self._agree(settlement, claims, held)
        self.model.fail({pair: wait for pair, _ in held})

    @rule(
        acked=PICKS,
        kinds=st.dictionaries(st.integers(0, 5), st.sampled_from(sorted(ERRORS))),
        released=PICKS,
        shared=st.booleans(),
    )
    def settle(self, acked: set[int] | None, kinds: dict[int, str], released: set[int] | None, *, shared: bool) -> None:
        claims = self.handed[::-1]
        failed = {claims[at]: kind for at, kind in kinds.items() if at < len(claims)}
        done = [claim for claim in picked(self.handed, acked) if claim not in failed]
        back = [claim for claim in picked(self.handed, released) if claim not in failed and claim not in done]
        verdicts = Verdicts(
            acked=[key for _, key in done],
            failed={key: ERRORS[kind][0] for (_, key), kind in failed.items()},
            shared=[key for _, key in failed] if shared else [],
            released=[key for _, key in back],
        )
        held = self.held([*done, *failed, *back])
        settled = settle(verdicts, subscribers(self.model.subs, "default"), using="default")
        assert settled == {key for _, key in held}
        self.model.ack([claim[0] for claim in done if claim in held])
        self.model.release([claim[0] for claim in back if claim in held])
        self.model.fail({claim[0]: ERRORS[kind][1] for claim, kind in failed.items() if claim in held}, shared=shared)

    @rule(picks=PICKS)
    def release(self, picks: set[int] | None) -> None:
        claims, held = self._picked(picks)
        assert release([key for _, key in claims], using="default") == {key for _, key in held}
        self.model.release([pair for pair, _ in held])

    @rule(picks=PICKS, by_id=st.booleans())
    def extend(self, picks: set[int] | None, by_id: bool) -> None:
        claims, held = self._picked(picks)
        if by_id:
            self._agree(broker.extend(_ack_ids(claims), 36_000), claims, held)
        else:
            keys = [key for _, key in claims]
            assert extend(keys, self.world.LEASE, using="default") == {key for _, key in held}
        for pair, _ in held:
            self.model.live[pair].late = False

    def _picked(self, picks: set[int] | None) -> tuple[list[Handed], list[Handed]]:
        claims = picked(self.handed, picks)
        return claims, self.held(claims)

    def _agree(self, settlement: broker.Settlement, claims: list[Handed], held: list[Handed]) -> None:
        assert list(settlement.settled) == _ack_ids(held)
        assert list(settlement.lost) == _ack_ids([claim for claim in claims if claim not in held])


def _ack_ids(claims: list[Handed]) -> list[str]:
    return [ack_id_of(*key) for _, key in claims]
