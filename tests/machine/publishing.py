"""Rules: what publishers and the stream do."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from datapunk_broker import broker
from datapunk_broker.engine.append import append
from datapunk_broker.exceptions import QueueFullError
from datapunk_broker.states import Overflow
from tests.machine.base import KINDS, Base
from tests.machine.model import RETENTION
from tests.machine.rows import Message
from tests.machine.world import TOPIC

HOURS = 10

DRAFTS = st.fixed_dictionaries(
    {
        "routing_key": st.sampled_from(["eu.paid", "us.paid"]),
        "ordering_key": st.sampled_from([None, "a", "a", "b", "c"]),
    },
    optional={
        "priority": st.sampled_from([5, 9]),
        "idempotency_key": st.sampled_from(["first", "second"]),
        "delay": st.just(timedelta(hours=HOURS)),
        "ttl": st.just(timedelta(hours=HOURS)),
    },
)


class Publishing(Base):
    def __init__(self) -> None:
        self.keys: dict[str, int] = {}
        super().__init__()

    @initialize(
        kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4), drafts=st.lists(DRAFTS, max_size=8)
    )
    def begin(self, kinds: list[str], drafts: list[dict[str, Any]]) -> None:
        for kind in kinds:
            self.subscribe(kind, eu_only=False)
        self.publish(drafts)

    @rule(drafts=st.lists(DRAFTS, min_size=1, max_size=6))
    def publish(self, drafts: list[dict[str, Any]]) -> None:
        numbers = range(self.last + 1, self.last + 1 + len(drafts))
        messages = [broker.Outgoing(n, **draft) for n, draft in zip(numbers, drafts, strict=True)]
        known = all(self.keys.get(draft.get("idempotency_key")) in self.model.messages for draft in drafts)
        if self.model.refuses([draft["routing_key"] for draft in drafts]) and not known:
            with pytest.raises(QueueFullError):
                broker.publish_many(TOPIC, messages)
            return
        receipts = broker.publish_many(TOPIC, messages)
        self.last += len(drafts)
        for n, draft, receipt in zip(numbers, drafts, receipts, strict=True):
            first = self._first(draft.get("idempotency_key"), n)
            assert receipt.duplicate is (first != n)
            if first == n:
                self.world.numbers[receipt.message_id] = n
                self.model.publish(n, self._message(draft))
            assert self.world.numbers[receipt.message_id] == first
            assert receipt.deliveries == len(self.model.messages[first].routed)

    def _first(self, key: str | None, n: int) -> int:
        if key is None:
            return n
        if self.keys.get(key) not in self.model.messages:
            self.keys[key] = n
        return self.keys[key]

    def _message(self, draft: dict[str, Any]) -> Message:
        wait = HOURS if "delay" in draft else 0
        priority, key = draft.get("priority", 0), draft["ordering_key"]
        return Message(draft["routing_key"], priority, key, wait, mortal="ttl" in draft)

    @rule(kind=st.sampled_from(sorted(KINDS)), subscribes=st.booleans())
    def undo(self, kind: str, subscribes: bool) -> None:
        if self.model.refuses(["eu.paid"]):
            return
        with transaction.atomic():
            if subscribes:
                self.world.subscribe("undone", **KINDS[kind])
            receipt = broker.publish(TOPIC, 0, routing_key="eu.paid", idempotency_key="undone")
            assert receipt.deliveries == subscribes + sum(1 for _ in self.model.listed())
            transaction.set_rollback(True)

    @rule()
    def append(self) -> None:
        before = self.model.head
        self.model.append()
        appended = [(done.topic, done.count, done.head) for done in append(using="default")]
        count = self.model.head - before
        assert appended == ([(TOPIC, count, self.model.head)] if count else [])

    @rule(limit=st.sampled_from([0, 0, 3, 6]), overflow=st.sampled_from(list(Overflow)))
    def hold_to(self, limit: int, overflow: Overflow) -> None:
        broker.update_topic(TOPIC, {"max_queue_size": limit, "overflow": overflow})
        self.model.limit, self.model.overflow = limit, overflow.value

    @rule()
    def turn_stream_off_or_on(self) -> None:
        streams = self.model.streams()
        broker.update_topic(TOPIC, {"stream": not streams})
        for pk in streams:
            self.model.subs[pk].deleted = True
        self.note_stream()

    @rule()
    def prune(self) -> None:
        before = len(self.model.stream), len(self.model.messages)
        gone = self.model.prune()
        pruned = broker.prune()
        assert (pruned.stream_entries, pruned.messages) == (before[0] - len(self.model.stream), len(gone))
        assert all(age <= RETENTION for _, age in self.model.stream.values())
