"""A claim takes so many bytes and no more; what there is no room for is handed back unharmed."""

import secrets

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from datapunk_broker.engine.claim import claim
from datapunk_broker.engine.pull import pull
from datapunk_broker.engine.rows import LIGHT, Claimed, Wanted
from datapunk_broker.engine.weight import MOST
from datapunk_broker.models import Delivery, Subscription
from datapunk_broker.payload import decompress
from datapunk_broker.states import DeliveryState
from tests.engine.make import make_subscription, make_topic, published

pytestmark = pytest.mark.django_db

MEGABYTE = 1024 * 1024
HEAVY, SQUEEZED = secrets.token_hex(MEGABYTE // 2 - 10), "a" * (MEGABYTE - 10)
FIT = MOST // MEGABYTE


def claimed(*subscriptions: Subscription, limit: int = 500) -> list[Claimed]:
    return claim([Wanted(s.pk, limit, 30.0) for s in subscriptions], limit=limit, using="default")


def bodies(rows: list[Claimed]) -> list[bytes]:
    return [decompress(row.body, row.encoding, limit=2 * MOST) for row in rows]


@pytest.mark.parametrize(("payload", "threshold"), [(HEAVY, 0), (HEAVY, 1024), (SQUEEZED, 1024)])
def test_what_there_is_no_room_for_is_handed_back_unharmed(payload: str, threshold: int) -> None:
    billing = make_subscription(make_topic(compression_threshold=threshold))
    messages = published("orders", *[payload] * (FIT + 5))

    rows = claimed(billing)

    assert [row.message for row in rows] == [message.pk for message in messages[:FIT]]
    assert set(bodies(rows)) == {f'"{payload}"'.encode()}
    waiting = Delivery.objects.filter(state=DeliveryState.READY)
    assert list(waiting.values_list("claims", "lapses", "ack_token")) == [(0, 0, None)] * 5
    assert len(claimed(billing)) == 5


def test_each_subscription_has_its_part_and_one_message_at_least() -> None:
    topic = make_topic()
    few, many = make_subscription(topic, "few"), [make_subscription(topic, f"s{n}") for n in range(FIT + 4)]
    published(topic, *[HEAVY] * 10)

    both = claimed(few, many[0])
    assert [sum(row.subscription == s.pk for row in both) for s in (few, many[0])] == [FIT // 2] * 2

    everyone = claimed(*many[1:])
    assert {row.subscription for row in everyone} == {s.pk for s in many[1:]}
    assert len(everyone) == len(many[1:])


def test_one_message_comes_however_heavy_it_is() -> None:
    billing = make_subscription(make_topic(max_message_size=3 * MOST))
    published("orders", HEAVY * 20, "next")
    [row] = claimed(billing)
    assert bodies([row])[0] == f'"{HEAVY * 20}"'.encode()


def test_an_ordering_key_goes_on_behind_what_was_handed_back() -> None:
    make_subscription(make_topic(), ordering=True)
    messages = published("orders", *[HEAVY] * (FIT + 3), ordering_key="k")
    first = pull("billing", max_messages=100, using="default")
    assert [received.id for received in first] == [message.pk for message in messages[:FIT]]
    assert pull("billing", max_messages=100, using="default") == []


def test_light_bodies_come_with_their_claim() -> None:
    billing = make_subscription(make_topic(compression_threshold=0))
    published("orders", *["a" * (LIGHT - 2)] * 3)
    with CaptureQueriesContext(connection) as queries:
        rows = claimed(billing)
    assert {len(body) for body in bodies(rows)} == {LIGHT}
    assert not [query for query in queries if query["sql"].startswith('SELECT "datapunk_broker_message"')]
