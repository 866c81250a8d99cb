"""A claim looks at a bounded number of ordering keys and goes on behind the last of them, so that none starves."""

from typing import Any

import pytest

from datapunk_broker.engine import claim
from datapunk_broker.engine.claim import claim_guarded, claim_probe
from datapunk_broker.engine.dialects import postgresql_sql, sqlite_sql
from datapunk_broker.engine.publish import publish
from datapunk_broker.envelope import Outgoing
from datapunk_broker.models import Delivery, Subscription, Topic
from tests.engine.make import make_subscription, make_topic
from tests.engine.working import USING, acked, subscriber_of

pytestmark = pytest.mark.django_db

KEYS = postgresql_sql.KEYS


@pytest.fixture(autouse=True)
def nothing_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "_last_keys", {})


@pytest.fixture
def topic() -> Topic:
    return make_topic()


@pytest.fixture
def ledger(topic: Topic) -> Subscription:
    return make_subscription(topic, "ledger", ordering=True, breaker={"failures": 1, "open_seconds": 60})


def name(n: int) -> str:
    return f"k{n:05}"


def block(count: int) -> None:
    """Each of so many keys has one that waits for its next attempt, and one behind it."""
    for _ in range(2):
        publish("orders", [Outgoing(n, ordering_key=name(n)) for n in range(count)], using=USING)
    heads = list(Delivery.objects.order_by("pk").values_list("pk", flat=True)[:count])
    Delivery.objects.filter(pk__in=heads).update(state="scheduled")


def free(n: int) -> None:
    Delivery.objects.filter(ordering_key=name(n)).update(state="ready")


def keys_of(rows: list[Any]) -> list[str]:
    return sorted({row.ordering_key for row in rows})


def run(ledger: Subscription, share: int = 100) -> list[Any]:
    return claim_guarded(subscriber_of(ledger), share, using=USING)


def test_both_databases_have_one_bound() -> None:
    assert KEYS == sqlite_sql.KEYS == 1000


def test_a_key_behind_many_that_wait_has_its_turn(topic: Topic, ledger: Subscription) -> None:
    count = 2 * KEYS + 10
    block(count)
    free(count - 1)
    assert [len(run(ledger)) for _ in range(3)] == [0, 0, 2]


def test_behind_the_last_key_come_the_first_again(topic: Topic, ledger: Subscription) -> None:
    count = KEYS + 10
    block(count)
    assert run(ledger) == []
    free(3)
    assert keys_of(run(ledger)) == [name(3)]
    free(KEYS + 5)
    assert keys_of(run(ledger)) == [name(KEYS + 5)]


def test_as_many_keys_as_a_claim_looks_at_have_their_turn_again_and_again(topic: Topic, ledger: Subscription) -> None:
    block(KEYS)
    assert run(ledger) == run(ledger) == []
    for n in (KEYS - 1, 0):
        free(n)
        assert keys_of(run(ledger) or run(ledger)) == [name(n)]


def test_keys_take_turns_among_those_that_wait(topic: Topic, ledger: Subscription) -> None:
    block(50)
    for n in (10, 20, 30):
        free(n)
    turns = []
    for _ in range(6):
        rows = run(ledger, 1)
        turns += keys_of(rows)
        acked(rows, ledger)
    assert turns == [name(n) for n in (10, 20, 30)] * 2


def test_a_probe_looks_past_the_keys_that_wait(topic: Topic, ledger: Subscription) -> None:
    count = KEYS + 10
    block(count)
    free(count - 1)
    Subscription.objects.update(breaker_state="open", breaker_until="2024-01-01T00:00:00Z")
    subscriber = subscriber_of(ledger)
    assert claim_probe(subscriber, using=USING) == []
    assert keys_of(claim_probe(subscriber, using=USING)) == [name(count - 1)]
