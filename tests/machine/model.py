"""What the broker promises, in dicts: no clock, no database, no concurrency; a verb says what is so after it.

The dicts keep the order in which rows were inserted.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from tests.machine.rows import Letter, Message, Owed, Sub

RETENTION, LETTER_RETENTION = 24, 168
MAX_ATTEMPTS = 3

Pair = tuple[int, int]
"""The number of a message and the id of a subscription."""


class Model:
    """stream: the message and the age at each position; head: the last one given."""

    def __init__(self) -> None:
        self.subs: dict[int, Sub] = {}
        self.messages: dict[int, Message] = {}
        self.live: dict[Pair, Owed] = {}
        self.settled: dict[Pair, tuple[str, int]] = {}
        self.letters: dict[Pair, Letter] = {}
        self.failures: Counter[Pair] = Counter()
        self.traffic: Counter[tuple[int, str]] = Counter()
        self.stream: dict[int, tuple[int, int]] = {}
        self.head = 0
        self.limit, self.overflow = 0, "reject"

    def owed_to(self, sub: int) -> dict[Pair, Owed]:
        return {pair: owed for pair, owed in self.live.items() if pair[1] == sub}

    def listed(self) -> dict[int, Sub]:
        return {pk: sub for pk, sub in self.subs.items() if not sub.deleted and not sub.streams}

    def streams(self) -> list[int]:
        return [pk for pk, sub in self.subs.items() if sub.streams and not sub.deleted]

    # -- publish

    def publish(self, n: int, message: Message) -> None:
        self.messages[n] = message
        message.routed = [pk for pk, sub in self.listed().items() if sub.matches(message.routing_key)]
        for sub in [*message.routed, *self.streams()]:
            self.owe(n, sub, message.wait, mortal=message.mortal)

    def refuses(self, routing_keys: Collection[str]) -> bool:
        full = [sub for sub in self.listed().values() if sub.full and self.overflow == "reject"]
        return any(sub.matches(key) for sub in full for key in routing_keys)

    def owe(self, n: int, sub: int, wait: int, *, mortal: bool = False) -> None:
        message, to = self.messages[n], self.subs[sub]
        priority, key = 0 if to.streams else message.priority, message.key if to.ordering else None
        self.live[n, sub] = Owed(priority, key, wait, mortal, "scheduled" if wait > 0 else "ready")

    # -- claim

    def claimable(self, sub: int, count: int, after: str = "") -> list[Pair]:
        """Those without a key by priority, then each key's leading run; never beyond the limit in flight."""
        plain = [pair for pair in self._ready(sub, suspect=False) if self.live[pair].key is None]
        plain.sort(key=lambda pair: -self.live[pair].priority)
        return [*plain, *self._runs(sub, after)][: self._room(sub, count)]

    def suspects(self, sub: int) -> list[Pair]:
        """The oldest that lapsed and does not wait for another of its key; alone."""
        for pair in self._ready(sub, suspect=True):
            line = self._line(sub, self.live[pair].key)
            if line[:1] in ([], [pair]) and not any(self.live[p].token for p in line):
                return [pair][: self._room(sub, 1)]
        return []

    def claim(self, pair: Pair, token: object) -> None:
        owed = self.live[pair]
        owed.state, owed.token, owed.claims = "claimed", token, owed.claims + 1

    def held(self, claims: Iterable[tuple[Pair, object]]) -> list[Pair]:
        return [pair for pair, token in claims if pair in self.live and self.live[pair].token == token]

    def _ready(self, sub: int, *, suspect: bool) -> list[Pair]:
        owed = {} if self.subs[sub].paused or self.subs[sub].deleted else self.owed_to(sub)
        free = {pair: o for pair, o in owed.items() if o.state == "ready" and not o.expired}
        return [pair for pair, o in free.items() if (o.lapses > 0) is suspect]

    def _line(self, sub: int, key: str | None) -> list[Pair]:
        return [pair for pair, o in self.owed_to(sub).items() if key and o.key == key]

    def _runs(self, sub: int, after: str) -> Iterator[Pair]:
        free = set(self._ready(sub, suspect=False))
        for key in sorted({o.key for o in self.owed_to(sub).values() if o.key}, key=lambda key: (key <= after, key)):
            line = self._line(sub, key)
            if not any(self.live[pair].token for pair in line):
                yield from line[: next((at for at, pair in enumerate(line) if pair not in free), len(line))]

    def _room(self, sub: int, count: int) -> int:
        limit = self.subs[sub].limit
        claimed = sum(o.state == "claimed" for o in self.owed_to(sub).values())
        return count if limit is None else max(0, min(count, limit - claimed))

    # -- settle

    def settle(self, pair: Pair, outcome: str, attempts: int) -> None:
        del self.live[pair]
        self.settled[pair] = outcome, attempts
        self.traffic[pair[1], outcome] += 1
        if outcome == "dead":
            redrives = self.letters[pair].redrives if pair in self.letters else 0
            self.letters[pair] = Letter(attempts, redrives=redrives)

    def ack(self, pairs: Collection[Pair]) -> None:
        for pair in pairs:
            self.settle(pair, "acked", self.live[pair].attempt + 1)

    def release(self, pairs: Collection[Pair]) -> None:
        for pair in pairs:
            self.live[pair].claims -= 1
            self.live[pair].goes("ready")

    def fail(self, failing: dict[Pair, int | None], *, shared: bool = False) -> None:
        """Hours until the next attempt, by pair; None where there is none. Shared: each is claimed alone next."""
        for pair, wait in failing.items():
            owed = self.live[pair]
            owed.attempt, owed.lapses = owed.attempt + 1, int(shared)
            self.failures[pair] += 1
            if wait is None or owed.attempt >= MAX_ATTEMPTS:
                self.settle(pair, "dead", owed.attempt)
                continue
            line = self._line(pair[1], owed.key)
            behind = line[line.index(pair) + 1 :] if owed.key else []
            self.release([p for p in behind if p not in failing and self.live[p].token == owed.token])
            owed.goes("scheduled" if wait else "ready")
            owed.wait = wait

    # -- sweep

    def sweep(self) -> None:
        self.live = {pair: owed for pair, owed in self.live.items() if not self.subs[pair[1]].deleted}
        for owed in self.live.values():
            if owed.state == "scheduled" and owed.wait <= 0:
                owed.state = "ready"
        for pair, owed in list(self.live.items()):
            if owed.late:
                self._lapse(pair, owed)
        for pair, owed in list(self.live.items()):
            if owed.expired and not owed.token and not self.subs[pair[1]].streams:
                self.settle(pair, "expired", owed.attempt)
        self.live = {p: o for p, o in self.live.items() if not (o.expired and self.subs[p[1]].streams)}
        self._hold_limit()

    def _hold_limit(self) -> None:
        for pk, sub in self.listed().items():
            excess = len(self.owed_to(pk)) - self.limit
            sub.full = self.limit > 0 and excess >= 0 and self.overflow == "reject"
            if self.limit and self.overflow != "reject":
                self._give_way(pk, max(0, excess))

    def _give_way(self, sub: int, excess: int) -> None:
        oldest = [pair for pair, owed in self.owed_to(sub).items() if not owed.token][:excess]
        for pair in oldest:
            outcome = "dropped" if self.overflow == "drop_oldest" else "dead"
            self.settle(pair, outcome, self.live[pair].attempt)

    def _lapse(self, pair: Pair, owed: Owed) -> None:
        """The first lapse costs nothing, but from then on it is claimed alone; a puller's first is forgiven."""
        if owed.lapses:
            owed.attempt += 1
            self.failures[pair] += 1
            if owed.attempt >= MAX_ATTEMPTS:
                self.settle(pair, "dead", owed.attempt)
                return
        owed.lapses = 0 if self.subs[pair[1]].pulled and owed.claims < 2 else owed.lapses + 1
        owed.goes("ready")

    # -- deliver again

    def redrive(self, letters: Iterable[Pair]) -> None:
        for pair in letters:
            del self.settled[pair]
            self.owe(*pair, 0)
            self.close(pair)

    def redrive_edited(self, pair: Pair, n: int) -> None:
        old = self.messages[pair[0]]
        self.messages[n] = Message(old.routing_key, old.priority, old.key, routed=[pair[1]], edited=True)
        self.owe(n, pair[1], 0)
        self.close(pair)

    def close(self, pair: Pair) -> None:
        letter = self.letters[pair]
        letter.open, letter.redrives = False, letter.redrives + 1

    def seek(self, sub: int, behind: Collection[int], ahead: Collection[int]) -> None:
        owed = {n: o for (n, _), o in self.owed_to(sub).items()}
        for n in [n for n in owed if n in behind and not owed[n].token]:
            self.settle((n, sub), "dropped", owed[n].attempt)
        ended = {n: self.messages[n] for n in ahead if n not in owed}
        again = {n for n, m in ended.items() if sub in m.routed}
        new = {n for n, m in ended.items() if n not in again and not m.edited}
        new = {n for n in new if self.subs[sub].matches(ended[n].routing_key)}
        keyed = {n for n in ahead if n in owed and owed[n].key and not owed[n].token} if again | new else set()
        for n in sorted(again | new | keyed):
            if n in keyed:
                self.live[n, sub] = self.live.pop((n, sub))
                continue
            self.settled.pop((n, sub), None)
            if (n, sub) in self.letters and self.letters[n, sub].open:
                self.close((n, sub))
            self.owe(n, sub, self.messages[n].wait)
        for n in new:
            self.messages[n].routed.append(sub)

    # -- keep

    def append(self) -> None:
        for sub in self.streams():
            for pair in [pair for pair, o in self.owed_to(sub).items() if o.state == "ready" and not o.expired]:
                del self.live[pair]
                self.head += 1
                self.stream[self.head] = pair[0], 0

    def prune(self) -> set[int]:
        """Return the messages that go."""
        self.letters = {p: x for p, x in self.letters.items() if not (x.open and x.age > LETTER_RETENTION)}
        self.stream = {at: entry for at, entry in self.stream.items() if entry[1] <= RETENTION}
        holding = {n for n, _ in self.live} | {n for n, _ in self.stream.values()}
        holding |= {pair[0] for pair, letter in self.letters.items() if letter.open}
        gone = {n for n, message in self.messages.items() if message.age > RETENTION and n not in holding}
        for store in (self.settled, self.letters, self.failures, self.messages):
            for key in [key for key in store if (key[0] if isinstance(key, tuple) else key) in gone]:
                del store[key]
        return gone
