from typing import Any

import msgspec
import pytest
from django.db.models.functions import Now

from datapunk_broker.engine import claim as claim_engine
from datapunk_broker.engine.pull import pull, settle_pulled
from datapunk_broker.engine.sweep import sweep
from datapunk_broker.envelope import Received
from datapunk_broker.exceptions import ConfigInvalidError, RetryAfter, SubscriptionNotFoundError
from datapunk_broker.models import Attempt, DeadLetter, Delivery, Subscription, Topic
from tests.engine.make import delete_subscription, make_subscription, make_topic, published
from tests.engine.working import USING, let_lapse, outcomes

pytestmark = pytest.mark.django_db


@pytest.fixture
def topic() -> Topic:
    return make_topic()


@pytest.fixture
def audit(topic: Topic) -> Subscription:
    return make_subscription(topic, "audit")


def pulled(count: int = 100, name: str = "audit") -> list[Received[Any]]:
    return pull(name, max_messages=count, using=USING)


def ids(messages: list[Received[Any]]) -> list[str]:
    return [message.ack_id for message in messages]


def lost(*ack_ids: Any) -> bool:
    settlement = settle_pulled(ack_ids, using=USING)
    return settlement.settled == () and settlement.lost == tuple(dict.fromkeys(ack_ids))


def let_everything_lapse() -> None:
    let_lapse()
    sweep(using=USING)


def test_a_pull_gives_the_whole_message(topic: Topic, audit: Subscription) -> None:
    options = {"routing_key": "eu", "headers": {"n": [1]}, "priority": 3, "ordering_key": "k"}
    [message] = published(topic, {"id": 7}, **options, correlation_id="c", reply_to="answers")
    [received] = pulled()
    assert received == Received(
        ack_id=received.ack_id,
        attempt=1,
        id=message.pk,
        topic="orders",
        subscription="audit",
        payload={"id": 7},
        body=b'{"id":7}',
        content_type="application/json",
        published_at=message.published_at,
        correlation_id="c",
        reply_to="answers",
        **options,
    )


def test_a_pull_gives_no_more_than_asked_and_nothing_twice(topic: Topic, audit: Subscription) -> None:
    published(topic, *range(5))
    assert [len(pulled(2)), len(pulled(2)), len(pulled(2)), len(pulled(2))] == [2, 2, 1, 0]


def test_a_packed_body_and_one_that_is_no_json_come_as_they_were(topic: Topic, audit: Subscription) -> None:
    published(topic, msgspec.Raw(b'"' + b"a" * 5000 + b'"'))
    published(topic, b"\xff\0" * 3000, content_type="image/png")
    text, image = pulled()
    assert (text.payload, len(text.body)) == ("a" * 5000, 5002)
    assert image.payload == image.body == b"\xff\0" * 3000


@pytest.mark.parametrize("count", [0, -1, 1001])
def test_a_pull_of_none_or_too_many_is_refused(audit: Subscription, count: int) -> None:
    with pytest.raises(ConfigInvalidError, match="max_messages"):
        pulled(count)


def test_who_is_not_there_or_not_a_puller_is_refused(topic: Topic, audit: Subscription) -> None:
    make_subscription(topic, "handler", transport="handler")
    delete_subscription(audit)
    for name in ("audit", "absent"):
        with pytest.raises(SubscriptionNotFoundError):
            pulled(name=name)
    with pytest.raises(ConfigInvalidError, match="transport"):
        pulled(name="handler")


def test_a_paused_subscription_gives_nothing(topic: Topic, audit: Subscription) -> None:
    published(topic, 1)
    Subscription.objects.update(state="paused")
    assert pulled() == []


def test_at_most_once_is_acked_before_it_is_given(topic: Topic, audit: Subscription) -> None:
    Subscription.objects.update(delivery_mode="at_most_once")
    published(topic, 1, 2)
    messages = pulled(1)
    assert [message.payload for message in messages] == [1]
    assert [outcome for _, outcome, _ in outcomes()] == ["acked"]
    assert lost(*ids(messages))
    let_everything_lapse()
    assert [message.payload for message in pulled()] == [2]


def test_at_most_once_what_cannot_be_read_leaves_its_attempt(topic: Topic, audit: Subscription) -> None:
    Subscription.objects.update(delivery_mode="at_most_once")
    bad, good = published(topic, "seven", 7)
    assert [message.payload for message in pull("audit", max_messages=2, payload_type=int, using=USING)] == [7]
    assert outcomes() == [(bad.pk, "acked", 1), (good.pk, "acked", 1)]
    [attempt] = Attempt.objects.all()
    assert (attempt.message_id, attempt.subscription_id, attempt.reason) == (bad.pk, audit.pk, "validation_error")


def test_what_nobody_can_read_is_dead_and_the_others_are_given(topic: Topic, audit: Subscription) -> None:
    published(topic, msgspec.Raw(b"1e999"), 2)
    assert [message.payload for message in pulled()] == [2]
    assert DeadLetter.objects.get().reason == "validation_error"


def test_a_message_whose_claim_lapsed_twice_is_given_alone(
    topic: Topic, audit: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim_engine, "SUSPECTS_SHARE", 0.0)
    published(topic, 1, 2)
    for _ in range(2):
        assert len(pulled()) == 2
        let_everything_lapse()
    published(topic, 3, 4)
    assert [[message.payload for message in pulled()] for _ in range(4)] == [[3, 4], [1], [2], []]


def test_an_open_breaker_is_probed_by_pulling(topic: Topic, audit: Subscription) -> None:
    Subscription.objects.update(breaker={"failures": 1, "open_seconds": 60}, max_attempts=9)
    published(topic, 1)
    settle_pulled(ids(pulled()), RetryAfter(0), using=USING)
    published(topic, 2)
    assert pulled() == []
    Subscription.objects.update(breaker_until=Now())
    probe = pulled()
    assert len(probe) == 1
    assert pulled() == []
    settle_pulled(ids(probe), using=USING)
    assert len(pulled()) == 1


def test_an_ordered_puller_gets_a_key_in_order_and_every_key_in_turn(topic: Topic, audit: Subscription) -> None:
    Subscription.objects.update(ordering=True)
    for n in range(3):
        for key in "ab":
            published(topic, f"{key}{n}", ordering_key=key)
    seen = []
    for _ in range(6):
        messages = pulled(1)
        seen += [message.payload for message in messages]
        settle_pulled(ids(messages), using=USING)
    assert seen == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_a_limit_in_flight_holds_for_pullers(topic: Topic, audit: Subscription) -> None:
    Subscription.objects.update(max_in_flight=2)
    published(topic, *range(5))
    Delivery.objects.filter(pk=Delivery.objects.earliest("pk").pk).update(lapses=1)
    seen = 0
    while messages := [*pulled(1), *pulled(2), *pulled(3)]:
        assert len(messages) <= 2
        assert Delivery.objects.filter(state="claimed").count() == len(messages)
        seen += len(settle_pulled(ids(messages), using=USING).settled)
    assert seen == 5
