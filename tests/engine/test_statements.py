"""How many statements a verb takes does not depend on how much it does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from datapunk_broker.engine.append import append
from datapunk_broker.engine.claim import claim_guarded, with_work
from datapunk_broker.engine.fold import fold
from datapunk_broker.engine.hold import extend, release
from datapunk_broker.engine.limits import hold_limits
from datapunk_broker.engine.publish import publish
from datapunk_broker.engine.pull import pull, settle_pulled
from datapunk_broker.engine.sweep import sweep
from datapunk_broker.envelope import Outgoing
from datapunk_broker.exceptions import Reject
from datapunk_broker.models import Delivery, Message, Subscription, Topic
from tests.engine.make import make_subscription, make_topic, published
from tests.engine.working import USING, acked, claimed, failed, keys, let_lapse, subscriber_of

pytestmark = pytest.mark.django_db(transaction=True)

ONE_STATEMENT = pytest.mark.postgresql  # SQLite takes a constant few

TRANSACTION = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE SAVEPOINT")


@contextmanager
def counting() -> Iterator[list[str]]:
    """The statements that reach the database meanwhile, those that begin and end transactions included."""
    seen: list[str] = []
    with CaptureQueriesContext(connection) as queries:
        yield seen
    seen += [query["sql"] for query in queries]


def count(act: Callable[[], Any]) -> int:
    with counting() as seen:
        act()
    return len(seen)


def send(count: int, to: str = "orders", **options: Any) -> None:
    assert len(publish(to, [Outgoing(n, **options) for n in range(count)], using=USING)) == count


def fan(subscriptions: int, to: str = "orders") -> list[Subscription]:
    topic = make_topic(to, stream=True, max_queue_size=10**6)
    many = [make_subscription(topic, f"{to}-{n}", transport="handler") for n in range(subscriptions)]
    send(1, to)  # the bindings are remembered from here on
    Message.objects.all().delete()
    Delivery.objects.all().delete()
    return many


@ONE_STATEMENT
@pytest.mark.parametrize("subscriptions", [1, 10, 100])
def test_publishing_is_one_statement_without_a_transaction(subscriptions: int) -> None:
    fan(subscriptions)
    assert connection.get_autocommit()
    for messages in (1, 1000 // subscriptions):
        with counting() as seen:
            send(messages, headers={"n": 1}, ordering_key="k", delay=timedelta(1), ttl=timedelta(2))
        assert len(seen) == 1, seen
    assert Delivery.objects.count() == (1 + 1000 // subscriptions) * (subscriptions + 1)


@ONE_STATEMENT
def test_publishing_a_thousand_is_one_statement_and_one_transaction() -> None:
    fan(1)
    calls: list[bool] = []

    def note(execute: Any, *statement: Any) -> Any:
        calls.append(connection.in_atomic_block or connection.connection.info.transaction_status != 0)
        return execute(*statement)

    with connection.execute_wrapper(note):
        send(1000)
    assert calls == [False]
    assert Message.objects.count() == 1000


@ONE_STATEMENT
def test_publishing_in_the_callers_transaction_adds_one_statement_to_it() -> None:
    fan(3)
    with transaction.atomic():
        Topic.objects.count()
        with counting() as seen:
            send(50)
    assert len(seen) == 1


@ONE_STATEMENT
def test_duplicates_take_one_statement_more_whatever_their_number() -> None:
    fan(1)
    for n in range(100):
        send(1, idempotency_key=f"k{n}")
    for keys_ in (1, 100):
        again = [Outgoing(n, idempotency_key=f"k{n}") for n in range(keys_)]
        with counting() as seen:
            receipts = publish("orders", again, using=USING)
        assert len(seen) == 2
        assert all(receipt.duplicate for receipt in receipts)


def test_publishing_takes_as_many_statements_for_many_as_for_one() -> None:
    fan(1, "few")
    fan(50, "many")
    send(1, "few")
    counts = [count(partial(send, n, to)) for to in ("few", "many") for n in (1, 100)]
    assert len(set(counts)) == 1, counts


@ONE_STATEMENT
@pytest.mark.parametrize("subscriptions", [1, 20])
def test_a_claim_is_one_statement_and_its_ack_another(subscriptions: int) -> None:
    many = fan(subscriptions)
    send(101)
    for size in (1, 100):
        with counting() as seen:
            rows = claimed(*many, count=size)
        assert (len(rows), len(seen)) == (size, 1)
        with counting() as seen:
            assert len(acked(rows, *many)) == size
        assert len(seen) == 2, "the ack, and the test's own look at the subscriptions"
        assert not any(sql.startswith(TRANSACTION) for sql in seen)


@ONE_STATEMENT  # SQLite takes more where its limit of parameters asks for it
@pytest.mark.parametrize(
    "act",
    [
        acked,
        lambda rows, s: failed(rows, ValueError("no"), s),
        lambda rows, s: failed(rows, Reject("no"), s),
        lambda rows, s: release(keys(rows), using=USING),
        lambda rows, s: extend(keys(rows), timedelta(minutes=1), using=USING),
        lambda rows, s: settle_pulled([f"{row.delivery:x}-{row.token.hex}" for row in rows], using=USING),
    ],
    ids=["ack", "fail", "bury", "release", "extend", "ack by id"],
)
@pytest.mark.parametrize("breaker", [None, {"failures": 9999, "open_seconds": 5}])
def test_a_hundred_are_settled_in_as_many_statements_as_one(
    act: Callable[[Any, Subscription], Any], breaker: Any
) -> None:
    topic = make_topic(dead_letter_topic="graves")
    make_subscription(make_topic("graves"), "undertaker", transport="pull")
    billing = make_subscription(topic, ordering=breaker is not None, breaker=breaker)

    def claims(size: int) -> list[Any]:
        send(size, ordering_key="k")
        return claim_guarded(subscriber_of(billing), size, using=USING) if breaker else claimed(billing)

    counts = []
    for size in (2, 1, 100):
        rows = claims(size)
        assert len(rows) == size
        counts.append(count(lambda rows=rows: act(rows, billing)))
        Delivery.objects.all().delete()
        send(1, "graves")  # its bindings are remembered
    assert counts[1] == counts[2] <= 20, counts


def test_a_guarded_claim_takes_as_many_statements_for_many_as_for_one() -> None:
    topic = make_topic()
    guarded = make_subscription(topic, ordering=True, max_in_flight=1000, batch_window=0.001, batch_size=1)
    for n in range(50):
        published(topic, 1, 2, ordering_key=f"k{n}")
    subscriber = subscriber_of(guarded)
    counts = [count(lambda size=size: claim_guarded(subscriber, size, using=USING)) for size in (1, 60)]
    assert max(counts) <= 15, counts
    assert count(lambda: with_work([guarded.pk] * 50, using=USING)) == 1


def test_a_pull_takes_as_many_statements_for_many_as_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datapunk_broker.engine.claim.SUSPECTS_SHARE", 0.0)
    make_subscription(make_topic(), "audit")
    send(101)
    assert len({count(lambda n=n: pull("audit", max_messages=n, using=USING)) for n in (1, 100)}) == 1


def test_an_append_takes_as_many_statements_for_many_as_for_one() -> None:
    make_topic(stream=True)
    counts = []
    for size in (1, 100):
        send(size)
        counts.append(count(lambda: append(using=USING)))
    assert counts[0] == counts[1], counts


def sweep_of(size: int, billing: Subscription) -> int:
    """The statements of a sweep that finds so many due, lapsed, lapsed for the last time, and expired."""
    Delivery.objects.all().delete()
    send(size, delay=timedelta(seconds=30))
    Delivery.objects.update(available_at="2024-01-01T00:00:00Z")
    send(size, ttl=timedelta(0))
    for attempt in (0, 99):
        send(size)
        rows = claimed(billing, count=size)
        assert len(rows) == size
        Delivery.objects.filter(pk__in=[r.delivery for r in rows]).update(lapses=attempt, attempt=attempt)
    let_lapse()
    return count(lambda: sweep(using=USING))


def test_a_sweep_takes_as_many_statements_for_many_as_for_one() -> None:
    billing = make_subscription(make_topic())
    assert sweep_of(1, billing) == sweep_of(40, billing) <= 60


def test_a_look_at_the_limits_takes_as_many_statements_for_many_subscriptions_as_for_one() -> None:
    topic = make_topic(max_queue_size=5)
    counts = []
    for n in range(40):
        make_subscription(topic, f"s{n}")
        counts.append(count(lambda: hold_limits(using=USING, batch=100)))
    assert len(set(counts)) == 1, counts


def test_a_fold_takes_as_many_statements_for_many_rows_as_for_one() -> None:
    topic = make_topic()
    billing = make_subscription(topic)
    counts = []
    for size in (1, 1, 30):
        send(size)
        for _ in range(size):
            acked(claimed(billing, count=1), billing)
        counts.append(count(lambda: fold(using=USING)))
    assert counts[1] == counts[2]
