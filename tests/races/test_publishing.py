"""Publishers, and those who change what they publish to: nobody waits, and nothing that is committed is missed."""

import threading
from typing import Any

import pytest

from datapunk_broker.conf import SubscriptionConfig
from datapunk_broker.engine import routes
from datapunk_broker.engine.publish import publish
from datapunk_broker.engine.routes import route_of
from datapunk_broker.engine.sweep import sweep
from datapunk_broker.engine.topology import (
    create_subscription,
    delete_subscription,
    delete_topic,
    update_subscription,
    update_topic,
)
from datapunk_broker.envelope import Outgoing, Receipt
from datapunk_broker.exceptions import QueueFullError
from datapunk_broker.models import DeadLetter, Delivery, Message, SettledDelivery, Subscription, Topic
from tests.engine.make import make_subscription, make_topic
from tests.engine.working import USING, acked, claimed, failed
from tests.races.actors import LONGEST, Actors, opened, wait_until_blocked

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def topic() -> Topic:
    return make_topic()


def send(payload: Any = 1, **options: Any) -> Receipt:
    [receipt] = publish("orders", [Outgoing(payload, **options)], using=USING)
    return receipt


def subscribe(name: str, **options: Any) -> Subscription:
    return create_subscription(SubscriptionConfig(name, "orders", transport="pull", **options), using=USING)


def owed(name: str) -> int:
    return Delivery.objects.filter(subscription__name=name).count()


def test_a_subscription_is_added_while_a_publisher_has_yet_to_commit(actors: Actors, topic: Topic) -> None:
    subscribe("first")
    with opened(actors, send) as publisher:
        actors.start(lambda: subscribe("second")).result(LONGEST)
        assert send().deliveries == 2
    assert publisher.result().deliveries == 1
    assert (owed("first"), owed("second")) == (2, 1)


def test_a_publisher_sees_a_subscription_that_came_after_its_transaction_began(actors: Actors, topic: Topic) -> None:
    def publish_before_and_after() -> list[int]:
        before = send().deliveries
        actors.start(lambda: subscribe("billing")).result(LONGEST)
        return [before, send().deliveries]

    with opened(actors, publish_before_and_after) as publisher:
        pass
    assert publisher.result() == [0, 1]


@pytest.mark.parametrize("delete", ["subscription", "topic"])
def test_what_is_deleted_and_swept_fails_no_publisher_that_has_yet_to_commit(
    actors: Actors, topic: Topic, delete: str
) -> None:
    subscribe("billing")
    with opened(actors, send) as publisher:
        if delete == "topic":
            delete_topic("orders", force=True, using=USING)
        else:
            delete_subscription("billing", using=USING)
        assert sweep(using=USING).purged == 0
    assert publisher.result().deliveries == 1
    assert Delivery.objects.count() == 1
    assert sweep(using=USING).purged == 1
    assert not Delivery.objects.exists()


@pytest.mark.parametrize("end", [acked, lambda rows, *who: failed(rows, ValueError(), *who)], ids=["acked", "failed"])
def test_a_subscription_is_deleted_and_swept_while_its_messages_are_handled(
    actors: Actors, topic: Topic, end: Any
) -> None:
    billing, audit = subscribe("billing"), subscribe("audit")
    for n in range(10):
        send(n)
    rows = claimed(billing, audit, count=10)

    def delete() -> None:
        delete_subscription("billing", using=USING)
        sweep(using=USING)

    held, done = actors.race(lambda: end(rows, billing, audit), delete)
    assert done is None
    sweep(using=USING)
    assert {row.key for row in rows if row.subscription == audit.pk} <= held
    assert owed("billing") == 0
    assert not DeadLetter.objects.exists()


def test_every_message_reaches_whoever_was_subscribed_before_it_was_published(actors: Actors, topic: Topic) -> None:
    lock, known, missing, stop = threading.Lock(), set[int](), [], threading.Event()

    def change() -> None:
        for n in range(12):
            subscription = subscribe(f"s{n}")
            with lock:
                known.add(subscription.pk)
            if n % 3 == 2:
                with lock:
                    known.discard(subscription.pk)
                delete_subscription(f"s{n}", using=USING)
        stop.set()

    def send_on() -> int:
        count = 0
        while not stop.is_set():
            with lock:
                before = set(known)
            receipt = send()
            with lock:
                still = before & known
            routed = set(Message.objects.get(pk=receipt.message_id).routed_to)
            missing.extend(still - routed)
            count += 1
        return count

    change_, *counts = actors.race(change, send_on, send_on, send_on)
    assert change_ is None
    assert missing == []
    assert Message.objects.count() == sum(counts)
    for message in Message.objects.all():
        found = Delivery.objects.filter(message=message.pk).values_list("subscription_id", flat=True)
        assert sorted(found) == message.routed_to


def test_a_process_that_remembers_the_old_bindings_reads_them_anew(actors: Actors, topic: Topic) -> None:
    remembered = route_of("orders", USING)
    subscribe("billing")
    for change in (
        lambda: subscribe("audit"),
        lambda: update_subscription("audit", {"ordering": True}, using=USING),
        lambda: update_topic("orders", {"retention_hours": 3}, using=USING),
        lambda: delete_subscription("audit", using=USING),
    ):
        actors.start(change).result(LONGEST)
        routes._routes[USING, "orders"] = remembered  # noqa: SLF001 - as another process still has it
        live = Subscription.objects.listed().count()
        assert send(ordering_key="k").deliveries == live
    assert owed("billing") == 4


def test_of_two_publishers_with_one_key_the_second_waits_and_gets_the_first_message(
    actors: Actors, topic: Topic
) -> None:
    subscribe("billing")
    with opened(actors, lambda: send("first", idempotency_key="k")) as first:
        second = actors.start(lambda: send("second", idempotency_key="k"))
        wait_until_blocked(second)
    receipt = second.result(LONGEST)
    assert receipt == Receipt(first.result().message_id, "orders", 1, duplicate=True)
    assert Message.objects.count() == owed("billing") == 1


def test_of_two_publishers_with_one_key_the_second_gets_its_own_when_the_first_rolls_back(
    actors: Actors, topic: Topic
) -> None:
    subscribe("billing")
    with opened(actors, lambda: send("first", idempotency_key="k"), commit=False):
        second = actors.start(lambda: send("second", idempotency_key="k"))
        wait_until_blocked(second)
    assert not second.result(LONGEST).duplicate
    assert bytes(Message.objects.get().body) == b'"second"'
    assert owed("billing") == 1


def test_publishers_of_other_keys_and_of_none_do_not_wait(actors: Actors, topic: Topic) -> None:
    with opened(actors, lambda: send(idempotency_key="k")):
        assert not actors.start(lambda: send(idempotency_key="other")).result(LONGEST).duplicate
        assert not actors.start(send).result(LONGEST).duplicate


def test_batches_with_the_same_keys_in_opposite_orders_wait_for_each_other_in_one(actors: Actors, topic: Topic) -> None:
    def batch(turn: int, *, backwards: bool) -> tuple[Receipt, ...]:
        keys = [f"{turn}-{n:03}" for n in range(400)]
        messages = [Outgoing(key, idempotency_key=key) for key in (reversed(keys) if backwards else keys)]
        return publish("orders", messages, using=USING)

    for turn in range(8):
        one, two = actors.race(
            lambda turn=turn: batch(turn, backwards=False), lambda turn=turn: batch(turn, backwards=True)
        )
        assert [r.message_id for r in one] == [r.message_id for r in reversed(two)]
        assert sum(not r.duplicate for r in (*one, *two)) == 400
    assert Message.objects.count() == 3200


def test_a_soft_limit_is_overshot_by_what_came_before_the_sweep_and_by_no_more(actors: Actors) -> None:
    make_subscription(make_topic(max_queue_size=20), "billing")
    may_sweep = threading.Event()

    def send_until_full() -> int:
        for count in range(10_000):
            if count == 15:
                may_sweep.set()
            try:
                send()
            except QueueFullError:
                return count
        raise AssertionError("it never was full")

    def sweep_then_count() -> int:
        may_sweep.wait(LONGEST)
        sweep(using=USING)
        assert Subscription.objects.get().over_limit
        return owed("billing")

    *accepted, at_most = actors.race(*[send_until_full] * 3, sweep_then_count)
    assert 20 <= sum(accepted) == owed("billing") <= at_most
    with pytest.raises(QueueFullError):
        send()
    acked(claimed(Subscription.objects.get(), count=1000), Subscription.objects.get())
    sweep(using=USING)
    assert send().deliveries == 1
    assert SettledDelivery.objects.count() == sum(accepted)
