"""What the machine found, each in its shortest form."""

from collections.abc import Iterable
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from datapunk_broker import broker
from datapunk_broker.engine.claim import claim_guarded
from datapunk_broker.engine.rows import Claimed
from datapunk_broker.engine.seek import Sought
from datapunk_broker.engine.settle import Verdicts, settle
from datapunk_broker.models import Delivery, Subscription, Topic
from tests.engine.make import make_subscription, make_topic, published
from tests.engine.working import acked, keys, roster_of, subscriber_of, suspected

pytestmark = pytest.mark.django_db

LATER = broker.RetryAfter(3600.0)


@pytest.fixture
def topic() -> Topic:
    return make_topic()


@pytest.fixture
def ledger(topic: Topic) -> Subscription:
    return make_subscription(topic, "ledger", ordering=True, transport="handler")


def claimed(ledger: Subscription, count: int = 100) -> list[Claimed]:
    return claim_guarded(subscriber_of(ledger), count, using="default")


def numbers(rows: Iterable[Claimed]) -> list[int]:
    return [int(row.body) for row in rows]


def settled(ledger: Subscription, **verdicts: object) -> frozenset[object]:
    return frozenset(settle(Verdicts(**verdicts), roster_of(ledger), using="default"))


def test_a_higher_priority_does_not_go_before_an_older_message_of_its_key(topic: Topic, ledger: Subscription) -> None:
    published(topic, 1, ordering_key="b")
    published(topic, 2, ordering_key="b", priority=5)
    assert numbers(claimed(ledger)) == [1, 2]


def test_a_small_claim_looks_past_the_keys_that_wait(topic: Topic, ledger: Subscription) -> None:
    for n, key in enumerate("abc"):
        published(topic, n, ordering_key=key)
    waiting = claimed(ledger, 2)
    settled(ledger, failed=dict.fromkeys(keys(waiting), LATER))
    assert numbers(claimed(ledger, 1)) == [2]


def test_a_small_claim_looks_past_a_key_whose_first_was_handed_back_alone(topic: Topic, ledger: Subscription) -> None:
    published(topic, 1, 2, ordering_key="a")
    published(topic, 3, ordering_key="b")
    first, second = claimed(ledger, 2)
    settled(ledger, released=[first.key])
    assert numbers(claimed(ledger, 1)) == [3]
    acked([second], ledger)
    assert numbers(claimed(ledger)) == [1]


def test_a_suspect_waits_while_another_worker_has_a_message_of_its_key(topic: Topic, ledger: Subscription) -> None:
    published(topic, 1, 2, ordering_key="a")
    first, second = claimed(ledger)
    Delivery.objects.filter(pk=first.delivery).update(lease_until=Now() - timedelta(seconds=1))
    broker.sweep()
    assert suspected(ledger) == claimed(ledger) == []
    acked([second], ledger)
    assert numbers(suspected(ledger)) == [1]


def test_a_late_failure_beside_a_new_one_does_not_keep_what_is_behind(topic: Topic, ledger: Subscription) -> None:
    published(topic, 1, 2, ordering_key="a")
    *_, late = returned = claimed(ledger)
    settled(ledger, released=keys(returned))
    first, second = claimed(ledger)
    assert settled(ledger, failed={first.key: LATER, late.key: LATER}) == {first.key}
    assert Delivery.objects.get(pk=second.delivery).state == "ready"


def test_what_is_released_behind_a_failure_was_not_lost(topic: Topic, ledger: Subscription) -> None:
    published(topic, 1, 2, ordering_key="a")
    first, second = claimed(ledger)
    assert settled(ledger, failed={first.key: LATER}, released=[second.key]) == {first.key, second.key}
    assert Delivery.objects.get(pk=second.delivery).claims == 0


def test_a_seek_to_a_position_leaves_what_a_stream_that_was_turned_off_never_got() -> None:
    topic = make_topic("prices", stream=True)
    published(topic, 1)
    broker.update_topic("prices", {"stream": False})
    make_subscription(topic, "late")
    assert broker.seek("late", 0) == Sought(rearmed=0, recreated=0, settled=0)
