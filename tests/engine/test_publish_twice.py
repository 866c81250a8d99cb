"""An idempotency key is unique in its topic for as long as the message is kept."""

from typing import Any

import pytest
from django.db import transaction

from datapunk_broker import signals
from datapunk_broker.engine.publish import publish
from datapunk_broker.envelope import Outgoing, Receipt
from datapunk_broker.exceptions import PayloadInvalidError
from datapunk_broker.models import Delivery, Message
from tests.engine.make import make_subscription, make_topic
from tests.engine.working import USING, hearing

pytestmark = pytest.mark.django_db


def send(*messages: Outgoing[Any], to: str = "orders") -> tuple[Receipt, ...]:
    return publish(to, messages, using=USING)


def once(payload: Any, key: str | None = "k", **options: Any) -> Outgoing[Any]:
    return Outgoing(payload, idempotency_key=key, **options)


def test_the_same_key_again_is_the_first_message_whatever_its_body() -> None:
    make_subscription(make_topic())
    [first] = send(once({"id": 1}))
    [again] = send(once({"other": "body"}, priority=9, routing_key="elsewhere"))
    assert again == Receipt(first.message_id, "orders", 1, duplicate=True)
    assert bytes(Message.objects.get().body) == b'{"id":1}'
    assert Delivery.objects.count() == 1


def test_a_key_that_comes_twice_in_one_batch_is_the_first_of_them() -> None:
    make_subscription(make_topic())
    receipts = send(once("first"), once("plain", None), once("second"), once("b", "b"), once("third"))
    ids = [receipt.message_id for receipt in receipts]
    assert [receipt.duplicate for receipt in receipts] == [False, False, True, False, True]
    assert ids[0] == ids[2] == ids[4]
    assert len(set(ids)) == 3
    bodies = {bytes(body) for body in Message.objects.values_list("body", flat=True)}
    assert bodies == {b'"first"', b'"plain"', b'"b"'}
    assert Delivery.objects.count() == 3


def test_a_batch_may_repeat_keys_of_an_earlier_batch_among_new_ones() -> None:
    make_subscription(make_topic())
    before = send(once(1, "a"), once(2, "b"))
    after = send(once(3, "c"), once(4, "b"), once(5, "a"))
    assert [receipt.duplicate for receipt in after] == [False, True, True]
    assert [after[2].message_id, after[1].message_id] == [receipt.message_id for receipt in before]
    assert Message.objects.count() == Delivery.objects.count() == 3


def test_a_duplicate_says_who_got_the_first_not_who_would_get_it_now() -> None:
    topic = make_topic()
    make_subscription(topic, "billing")
    send(once(1))
    make_subscription(topic, "audit")
    assert send(once(1))[0].deliveries == 1
    assert send(once(1, "other"))[0].deliveries == 2


def test_two_topics_have_keys_of_their_own() -> None:
    make_topic()
    make_topic("refunds")
    [one] = send(once(1))
    [other] = send(once(1), to="refunds")
    assert not other.duplicate
    assert one.message_id != other.message_id


@pytest.mark.parametrize("key", ["\u00e9", "e\u0301", "k" * 255, " k ", "0"])
def test_keys_are_compared_as_they_are(key: str) -> None:
    make_topic()
    send(once(0, "e"), once(0, "k"), once(0, "\U0001f600"))
    assert [receipt.duplicate for receipt in send(once(1, key), once(1, key))] == [False, True]


def test_a_key_is_free_again_when_its_message_is_gone() -> None:
    make_topic()
    [first] = send(once(1))
    Message.objects.all().delete()
    [second] = send(once(1))
    assert not second.duplicate
    assert second.message_id != first.message_id


def test_a_key_of_a_publish_that_was_undone_is_free() -> None:
    make_topic()
    with transaction.atomic():
        send(once(1))
        transaction.set_rollback(True)
    assert not send(once(1))[0].duplicate


def test_an_invalid_message_is_refused_even_under_a_known_key() -> None:
    make_topic()
    send(once(1))
    with pytest.raises(PayloadInvalidError):
        send(once(object()))


@pytest.mark.django_db(transaction=True)
def test_a_duplicate_is_told_to_nobody() -> None:
    make_subscription(make_topic())
    send(once(1))
    with hearing(signals.published) as heard:
        send(once(1))
    assert heard == []
    with hearing(signals.published) as heard:
        [_, new] = send(once(1), once(2, "new"))
    assert [event["message_ids"] for event in heard] == [(new.message_id,)]
