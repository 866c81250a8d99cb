"""An ordered subscription gets the messages of a key one after the other; keys do not wait for each other."""

from typing import Any

import pytest

from datapunk_broker.engine.claim import claim_guarded
from datapunk_broker.engine.hold import release
from datapunk_broker.engine.publish import publish
from datapunk_broker.engine.settle import Verdicts, settle
from datapunk_broker.engine.sweep import sweep
from datapunk_broker.envelope import Outgoing
from datapunk_broker.exceptions import Reject, RetryAfter
from datapunk_broker.models import Delivery, Message, Subscription, Topic
from tests.engine.make import make_subscription, make_topic, published
from tests.engine.working import (
    USING,
    acked,
    failed,
    let_lapse,
    messages_of,
    roster_of,
    subscriber_of,
    suspected,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def topic() -> Topic:
    return make_topic()


@pytest.fixture
def ledger(topic: Topic) -> Subscription:
    return make_subscription(topic, "ledger", ordering=True, retry_delay=60.0)


def run(subscription: Subscription, share: int = 100, after: str = "") -> list[Any]:
    return claim_guarded(subscriber_of(subscription), share, after=after, using=USING)


def send(topic: Topic, keys: str, **options: Any) -> list[Message]:
    return [message for key in keys for message in published(topic, key, ordering_key=key, **options)]


def keys_of(rows: list[Any]) -> str:
    return "".join(row.ordering_key or "-" for row in rows)


def test_a_key_is_claimed_as_a_run_in_the_order_of_publishing(topic: Topic, ledger: Subscription) -> None:
    messages = send(topic, "aab")
    rows = run(ledger)
    assert messages_of(rows) == [message.pk for message in messages]
    assert len({row.token for row in rows if row.ordering_key == "a"}) == 1


def test_a_key_with_a_claimed_message_waits_and_the_others_do_not(topic: Topic, ledger: Subscription) -> None:
    send(topic, "aab")
    assert keys_of(run(ledger, 1)) == "a"
    assert keys_of(run(ledger)) == "b"
    send(topic, "abc")
    assert keys_of(run(ledger)) == "c"
    assert run(ledger) == []


def test_priority_does_not_reorder_a_key(topic: Topic, ledger: Subscription) -> None:
    messages = [*send(topic, "a"), *send(topic, "a", priority=9), *send(topic, "a", priority=5)]
    taken = []
    while rows := run(ledger, 1):
        taken += messages_of(rows)
        acked(rows, ledger)
    assert taken == [message.pk for message in messages]


def test_messages_without_a_key_have_no_order_to_keep(topic: Topic, ledger: Subscription) -> None:
    published(topic, 1, 2)
    assert keys_of(run(ledger, 1)) == "-"
    assert keys_of(run(ledger, 1)) == "-"


def test_a_message_that_is_not_due_holds_back_its_key_alone(topic: Topic, ledger: Subscription) -> None:
    first, *_ = send(topic, "aab")
    Delivery.objects.filter(message=first.pk).update(state="scheduled")
    assert keys_of(run(ledger)) == "b"
    Delivery.objects.filter(message=first.pk).update(state="ready")
    assert keys_of(run(ledger)) == "aa"


def test_a_failure_holds_back_its_key_and_hands_back_what_was_claimed_behind_it(
    topic: Topic, ledger: Subscription
) -> None:
    send(topic, "aaab")
    one, two, three, other = run(ledger)
    settle(Verdicts(acked=[one.key], failed={two.key: ValueError()}), roster_of(ledger), using=USING)
    left = {d.pk: d for d in Delivery.objects.all()}
    assert (left[two.delivery].state, left[two.delivery].attempt) == ("scheduled", 1)
    behind = left[three.delivery]
    assert (behind.state, behind.attempt, behind.claims, behind.ack_token) == ("ready", 0, 0, None)
    assert left[other.delivery].state == "claimed"
    assert run(ledger) == []
    Delivery.objects.filter(pk=two.delivery).update(state="ready")
    assert [row.delivery for row in run(ledger)] == [two.delivery, three.delivery]


def test_each_of_several_failures_is_charged_and_only_the_others_are_handed_back(
    topic: Topic, ledger: Subscription
) -> None:
    send(topic, "aaabb")
    one, two, three, four, five = run(ledger)
    errors = {two.key: ValueError(), one.key: ValueError(), five.key: ValueError()}
    settle(Verdicts(failed=errors), roster_of(ledger), using=USING)
    states = dict(Delivery.objects.values_list("pk", "state"))
    assert [states[row.delivery] for row in (one, two, three, four, five)] == [
        "scheduled",
        "scheduled",
        "ready",
        "claimed",
        "scheduled",
    ]


def test_a_death_lets_the_key_go_on(topic: Topic, ledger: Subscription) -> None:
    send(topic, "aaa")
    one, two, three = run(ledger)
    settle(Verdicts(failed={one.key: Reject("no")}), roster_of(ledger), using=USING)
    assert acked([two, three], ledger) == {two.key, three.key}


def test_hundreds_of_keys_may_fail_at_once(topic: Topic, ledger: Subscription) -> None:
    keys = [f"k{n:03}" for n in range(500)]
    publish("orders", [Outgoing(n, ordering_key=key) for n in (1, 2) for key in keys], using=USING)
    rows = run(ledger, 1000)
    heads = list({row.ordering_key: row for row in reversed(rows)}.values())
    assert (len(rows), len(heads)) == (1000, 500)
    failed(heads, RetryAfter(60), ledger)
    states = dict(Delivery.objects.values_list("pk", "state"))
    assert {states[row.delivery] for row in heads} == {"scheduled"}
    assert sorted(states.values()) == ["ready"] * 500 + ["scheduled"] * 500


def test_a_run_that_is_released_is_claimed_in_order_again(topic: Topic, ledger: Subscription) -> None:
    send(topic, "aaa")
    rows = run(ledger)
    release([row.key for row in rows[1:]], using=USING)
    assert run(ledger) == []
    acked(rows[:1], ledger)
    assert messages_of(run(ledger)) == messages_of(rows[1:])


def test_a_run_that_lapsed_goes_on_alone_and_in_order(topic: Topic, ledger: Subscription) -> None:
    messages = send(topic, "aab")
    run(ledger)
    let_lapse()
    sweep(using=USING)
    assert run(ledger, 1)[0].message == messages[0].pk
    assert run(ledger, 5)[0].message == messages[2].pk
    assert run(ledger) == suspected(ledger) == []


def test_a_suspect_waits_for_those_before_it_in_its_key(topic: Topic, ledger: Subscription) -> None:
    first, second = send(topic, "aa")
    Delivery.objects.filter(message=second.pk).update(lapses=1)
    assert suspected(ledger) == []
    rows = run(ledger)
    assert messages_of(rows) == [first.pk]
    assert suspected(ledger) == run(ledger) == []
    acked(rows, ledger)
    assert messages_of(suspected(ledger)) == [second.pk]


def test_a_claim_goes_on_behind_the_last_key_and_then_round(topic: Topic, ledger: Subscription) -> None:
    send(topic, "abcd")
    assert keys_of(run(ledger, 1, after="b")) == "c"
    assert sorted(keys_of(run(ledger, 2, after="c"))) == ["a", "d"]
    assert keys_of(run(ledger, after="x")) == "b"


def test_a_long_key_is_taken_a_piece_at_a_time(topic: Topic, ledger: Subscription) -> None:
    published(topic, *range(150), ordering_key="long")
    send(topic, "z")
    rows = run(ledger, 500)
    assert len(rows) == 101
    acked(rows, ledger)
    assert len(run(ledger, 500)) == 50


def test_an_expired_message_is_no_obstacle_once_it_is_swept(topic: Topic, ledger: Subscription) -> None:
    first, second = send(topic, "aa")
    Delivery.objects.filter(message=first.pk).update(expires_at=first.published_at)
    assert run(ledger) == []
    sweep(using=USING)
    assert messages_of(run(ledger)) == [second.pk]


def test_an_unordered_subscription_of_the_same_topic_does_not_wait(topic: Topic, ledger: Subscription) -> None:
    plain = make_subscription(topic, "plain")
    send(topic, "aaa")
    assert Delivery.objects.of(plain.pk).filter(ordering_key=None).count() == 3
    assert Delivery.objects.of(ledger.pk).filter(ordering_key="a").count() == 3
