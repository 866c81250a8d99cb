from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.db import transaction

from datapunk_broker import signals
from datapunk_broker.engine.packing import LONGEST
from datapunk_broker.engine.publish import publish
from datapunk_broker.envelope import Outgoing, Receipt
from datapunk_broker.exceptions import TopicNotFoundError
from datapunk_broker.models import Delivery, Message
from datapunk_broker.payload import decompress
from datapunk_broker.states import Encoding
from tests.engine.make import make_subscription, make_topic, published
from tests.engine.working import USING, hearing, nothing_was_stored

pytestmark = pytest.mark.django_db


def send(payload: Any = 1, to: str = "orders", **options: Any) -> Receipt:
    [receipt] = publish(to, [Outgoing(payload, **options)], using=USING)
    return receipt


def send_many(*messages: Outgoing[Any]) -> tuple[Receipt, ...]:
    return publish("orders", messages, using=USING)


def owed_to() -> list[int]:
    return sorted(Delivery.objects.values_list("subscription_id", flat=True))


def test_a_receipt_names_the_message_and_counts_who_gets_it() -> None:
    topic = make_topic()
    make_subscription(topic, "billing")
    make_subscription(topic, "audit")
    receipt = send({"id": 7})
    message = Message.objects.get()
    assert receipt == Receipt(message.pk, "orders", 2)
    assert message.pk.version == 7
    assert Delivery.objects.filter(message=message, state="ready").count() == 2


def test_a_message_that_nobody_is_bound_for_is_stored() -> None:
    make_subscription(make_topic(type="topic"), bindings=["eu.*"])
    assert send(routing_key="us.paid").deliveries == 0
    assert Message.objects.get().routed_to == []
    assert not Delivery.objects.exists()


def test_several_bindings_of_one_subscription_that_match_owe_it_one_delivery() -> None:
    topic = make_topic(type="topic")
    billing = make_subscription(topic, "billing", ["eu.*", "#", "eu.paid"])
    make_subscription(topic, "us", ["us.#"])
    assert send(routing_key="eu.paid").deliveries == 1
    assert owed_to() == [billing.pk]
    assert Message.objects.get().routed_to == [billing.pk]


def test_headers_decide_on_a_headers_topic_by_their_type() -> None:
    topic = make_topic(type="headers")
    one = make_subscription(topic, "one", [{"x-match": "all", "tier": 1}])
    make_subscription(topic, "text", [{"x-match": "all", "tier": "1"}])
    make_subscription(topic, "truth", [{"x-match": "all", "tier": True}])
    assert send(headers={"tier": 1}).deliveries == 1
    assert owed_to() == [one.pk]


def test_the_stream_is_owed_a_delivery_that_no_receipt_counts() -> None:
    topic = make_topic(stream=True)
    billing = make_subscription(topic, ordering=True)
    receipt = send(priority=9, ordering_key="k")
    assert receipt.deliveries == 1
    assert Message.objects.get().routed_to == [billing.pk]
    stream = Delivery.objects.get(subscription__transport="stream")
    assert (stream.priority, stream.ordering_key, stream.state) == (0, None, "ready")


@pytest.mark.parametrize(
    "body",
    [
        b'{"b": 1,\t"a":\n2, "a": 3}',
        b"123456789012345678901234567890",
        b"1.10",
        b"1E400",
        b'"\\ud800 \\u0000 \\/"',
        '"caf\u00e9 \u2028"'.encode(),
        b" [ ] ",
        b"null",
    ],
)
def test_the_bytes_of_a_json_text_are_kept_as_they_came(body: bytes) -> None:
    make_topic()
    send(msgspec.Raw(body))
    assert bytes(Message.objects.get().body) == body


def test_bytes_of_another_content_type_are_kept_as_they_came() -> None:
    make_topic()
    send(bytes(range(256)), content_type="application/octet-stream")
    message = Message.objects.get()
    assert (bytes(message.body), message.content_type) == (bytes(range(256)), "application/octet-stream")


@pytest.mark.parametrize(
    ("size", "options", "encoding"),
    [
        (1023, {}, Encoding.IDENTITY),
        (1024, {}, Encoding.ZSTD),
        (5000, {"compression_threshold": 0}, Encoding.IDENTITY),
        (50, {"compression_threshold": 50}, Encoding.ZSTD),
        (49, {"compression_threshold": 50}, Encoding.IDENTITY),
    ],
)
def test_a_body_is_packed_from_the_threshold_on(size: int, options: dict[str, Any], encoding: Encoding) -> None:
    make_topic(**options)
    body = b'"' + b"a" * (size - 2) + b'"'
    send(msgspec.Raw(body))
    message = Message.objects.get()
    assert message.encoding == encoding
    assert decompress(bytes(message.body), Encoding(message.encoding), limit=size) == body


def test_every_option_is_stored() -> None:
    topic = make_topic()
    ordered, plain = make_subscription(topic, "ordered", ordering=True), make_subscription(topic, "plain")
    options = {
        "routing_key": " caf\u00e9.\U0001f600 ",
        "headers": {"tier": "gold", "n": [1, {"deep": None}], "caf\u00e9": 12345678901234567890},
        "priority": 9,
        "ordering_key": "customer-7",
        "idempotency_key": "o-7",
        "correlation_id": "c-7",
        "reply_to": "answers",
    }
    send(**options)
    message = Message.objects.get()
    assert {name: getattr(message, name) for name in options} == options
    by_subscription = {d.subscription_id: d for d in Delivery.objects.all()}
    assert by_subscription[ordered.pk].ordering_key == "customer-7"
    assert by_subscription[plain.pk].ordering_key is None
    assert {d.priority for d in by_subscription.values()} == {9}


@pytest.mark.parametrize(
    ("delay", "state"),
    [(None, "ready"), (timedelta(0), "ready"), (timedelta(microseconds=1), "scheduled"), (LONGEST, "scheduled")],
)
def test_a_delay_schedules_the_delivery(delay: timedelta | None, state: str) -> None:
    make_subscription(make_topic())
    send(delay=delay)
    delivery, message = Delivery.objects.get(), Message.objects.get()
    assert delivery.state == state
    assert delivery.available_at - delivery.published_at == (delay or timedelta(0))
    assert (message.available_at, message.published_at) == (delivery.available_at, delivery.published_at)


@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(seconds=2.5), LONGEST])
def test_a_time_to_live_counts_from_the_publishing(ttl: timedelta) -> None:
    make_subscription(make_topic())
    send(ttl=ttl, delay=timedelta(seconds=1))
    delivery, message = Delivery.objects.get(), Message.objects.get()
    assert delivery.expires_at is not None
    assert delivery.expires_at - delivery.published_at == ttl
    assert message.expires_at == delivery.expires_at


def test_a_batch_is_delivered_in_the_order_of_publishing() -> None:
    topic = make_topic()
    make_subscription(topic, "one")
    make_subscription(topic, "two")
    receipts = send_many(*(Outgoing(n, idempotency_key=f"k{9 - n % 10}") for n in range(10)))
    ids = [receipt.message_id for receipt in receipts]
    assert ids == sorted(ids)
    for name in ("one", "two"):
        in_order = Delivery.objects.filter(subscription__name=name).order_by("pk")
        assert list(in_order.values_list("message_id", flat=True)) == ids


def test_no_messages_are_no_receipts() -> None:
    make_topic()
    assert send_many() == ()
    with pytest.raises(TopicNotFoundError):
        publish("absent", [], using=USING)


def test_what_is_published_goes_with_the_callers_transaction() -> None:
    make_subscription(make_topic())
    with hearing(signals.published) as heard, transaction.atomic():
        send()
        transaction.set_rollback(True)
    assert nothing_was_stored()
    assert heard == []


@pytest.mark.django_db(transaction=True)
def test_publishing_is_told_after_the_commit_with_whose_pumps_have_work() -> None:
    topic = make_topic(stream=True)
    make_subscription(topic, "billing", transport="handler")
    with hearing(signals.published) as heard:
        with transaction.atomic():
            one, two = published("orders", 1, 2, correlation_id="c")
            assert heard == []
        assert heard == [
            {
                "topic": "orders",
                "message_ids": (one.pk, two.pk),
                "correlation_ids": ("c", "c"),
                "deliveries": 2,
                "transports": frozenset({"handler", "stream"}),
                "using": USING,
            }
        ]
    assert isinstance(one.pk, UUID)


def test_an_empty_ordering_key_is_none() -> None:
    make_subscription(make_topic(), ordering=True)
    send(ordering_key="")
    assert Message.objects.get().ordering_key is None
    assert Delivery.objects.get().ordering_key is None
