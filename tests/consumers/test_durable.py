"""Durable pull subscriptions over a socket: every message is acked, and what is not comes again."""

from typing import Any

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig
from datapunk_broker.models import Delivery, SettledDelivery
from datapunk_broker.states import DeliveryState
from tests.consumers.client import Client, connected
from tests.consumers.conftest import Site, make_pull, make_topic, payloads


def ack_ids(items: list[dict[str, Any]]) -> list[str]:
    return [item["ack_id"] for item in items]


def settled(client: Client) -> list[str]:
    """Return how deliveries ended, once the client was heard."""
    client.say("ping")
    client.hear("pong")
    return sorted(SettledDelivery.objects.values_list("outcome", flat=True))


def test_each_message_is_pulled_once_and_gone_when_it_is_acked(client: Client) -> None:
    make_topic(stream=False)
    make_pull()
    broker.publish("orders", {"id": 1}, correlation_id="c")
    subscribed = client.pull("audit")
    assert (subscribed["oldest"], subscribed["head"]) == (None, None)

    (item,) = client.items(1)
    assert (item["payload"], item["attempt"], item["position"], item["previous"]) == ({"id": 1}, 1, None, None)
    assert item["correlation_id"] == "c"
    assert settled(client) == []
    client.say("ack", sid="s", ack_ids=ack_ids([item]))

    assert settled(client) == ["acked"]
    assert not Delivery.objects.exists()


def test_what_is_published_later_is_brought_without_being_asked_for(client: Client) -> None:
    make_topic(stream=False)
    make_pull()
    client.pull("audit")
    for n in range(3):
        broker.publish("orders", n)
        assert payloads(client.items(1)) == [n]


def test_a_nack_brings_it_again_and_charges_an_attempt(client: Client) -> None:
    make_topic(stream=False)
    make_pull(max_attempts=2)
    broker.publish("orders", "hard")
    client.pull("audit")

    first = client.items(1)
    client.say("nack", sid="s", ack_ids=ack_ids(first), delay=0)
    second = client.items(1)
    assert [item["attempt"] for item in (*first, *second)] == [1, 2]
    client.say("nack", sid="s", ack_ids=ack_ids(second))

    assert settled(client) == ["dead"]


def test_an_ack_of_a_lost_claim_is_an_error_that_names_it_and_the_others_are_settled(client: Client) -> None:
    make_topic(stream=False)
    make_pull()
    broker.publish_many("orders", [broker.Outgoing(1), broker.Outgoing(2)])
    client.pull("audit")
    good, stale = ack_ids(client.items(2))
    broker.release([stale])
    (released,) = client.items(1)
    assert released["attempt"] == 1

    client.say("ack", sid="s", ack_ids=[good, stale, "nonsense", "a\0b"])

    error = client.hear("error")
    assert (error["sid"], error["code"], error["ack_ids"]) == ("s", "claim_lost", [stale, "nonsense", "a\0b"])
    assert settled(client) == ["acked"]
    client.say("ack", sid="s", ack_ids=[released["ack_id"]])
    assert settled(client) == ["acked", "acked"]


def test_only_what_is_the_subscriptions_own_is_settled(client: Client) -> None:
    make_topic(stream=False)
    make_pull("audit")
    make_pull("billing")
    broker.publish("orders", 1)
    client.pull("audit", 1)
    items = client.items(1)
    client.pull("billing", 2)
    client.items(1)

    client.say("ack", sid=2, ack_ids=ack_ids(items))

    assert client.hear("error")["code"] == "claim_lost"


def test_a_lease_is_extended(client: Client) -> None:
    make_topic(stream=False)
    make_pull(ack_deadline=1.0)
    broker.publish("orders", 1)
    client.pull("audit")
    items = client.items(1)
    before = Delivery.objects.get().lease_until

    client.say("extend", sid="s", ack_ids=ack_ids(items), by=100)
    assert settled(client) == []

    after = Delivery.objects.get().lease_until
    assert before is not None
    assert after is not None
    assert 90 < (after - before).total_seconds() < 110
    client.say("extend", sid="s", ack_ids=["gone"], by=1e8)
    assert client.hear("error")["code"] in ("claim_lost", "config_invalid")


def test_no_more_is_claimed_than_there_is_credit_for(client: Client) -> None:
    make_topic(stream=False)
    make_pull()
    broker.publish_many("orders", [broker.Outgoing(n) for n in range(30)])

    client.pull("audit", credit=25)
    items = client.items(25)
    client.silence()
    assert Delivery.objects.filter(state=DeliveryState.CLAIMED).count() == 25
    client.say("credit", sid="s", limit=30)
    items += client.items(5)

    assert sorted(payloads(items)) == [*range(30)]


def test_two_sockets_share_a_subscription_and_none_gets_what_the_other_has(site: Site, token: str) -> None:
    make_topic(stream=False)
    make_pull()
    with connected(site.url, token) as one, connected(site.url, token) as other:
        one.pull("audit", credit=10)
        other.pull("audit", credit=20)
        broker.publish_many("orders", [broker.Outgoing(n) for n in range(30)])
        assert sorted(payloads([*one.items(10), *other.items(20)])) == [*range(30)]


def test_a_subscription_that_is_deleted_ends_its_readers(client: Client) -> None:
    make_topic(stream=False)
    make_pull()
    client.pull("audit")

    broker.delete_subscription("audit")

    assert client.hear("unsubscribed")["code"] == "subscription_not_found"


def test_a_handlers_subscription_is_not_pulled_from(client: Client) -> None:
    make_topic(stream=False)
    broker.create_subscription(SubscriptionConfig("billing", "orders"))

    client.say("subscribe", sid=1, subscription="billing", credit=1)

    assert client.hear("error")["code"] == "config_invalid"
