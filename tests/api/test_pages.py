"""Lists, page by page."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.models import DeadLetter
from tests.api.talk import Api

pytestmark = pytest.mark.django_db


@pytest.fixture
def _orders(db: None) -> None:
    broker.create_topic(TopicConfig("orders"))
    broker.create_subscription(SubscriptionConfig("audit", "orders", transport="pull"))


def walk(api: Api, path: str, member: str, way: str = "next") -> list[list[Any]]:
    pages, address = [], path
    while address:
        page = api.get(address).json()
        pages.append([row[member] for row in page["results"]])
        address = page[way]
    return pages


@pytest.mark.usefixtures("_orders")
def test_a_list_is_walked_to_its_end_and_back(api: Api) -> None:
    broker.publish_many("orders", [broker.Outgoing(n) for n in range(5)])

    assert walk(api, "topics/orders/messages/?page_size=2", "payload") == [[4, 3], [2, 1], [0]]
    second = api.get(api.get("topics/orders/messages/?page_size=2").json()["next"]).json()
    assert walk(api, second["previous"], "payload", "previous") == [[4, 3]]
    last = api.get(second["next"]).json()
    assert last["next"] is None
    assert walk(api, last["previous"], "payload", "previous") == [[2, 1], [4, 3]]
    assert api.get(api.get(last["previous"]).json()["next"]).json()["results"] == last["results"]


@pytest.mark.usefixtures("_orders")
def test_a_page_stays_right_while_rows_come_and_go(api: Api) -> None:
    broker.publish_many("orders", [broker.Outgoing(n) for n in range(4)])
    first = api.get("topics/orders/messages/?page_size=2").json()

    broker.publish("orders", "new")

    assert [row["payload"] for row in api.get(first["next"]).json()["results"]] == [1, 0]


@pytest.mark.usefixtures("_orders")
def test_the_filters_stay_in_the_addresses_of_other_pages(api: Api) -> None:
    for n in range(6):
        broker.publish("orders", n, routing_key="odd" if n % 2 else "even")

    assert walk(api, "topics/orders/messages/?page_size=1&routing_key=odd", "payload") == [[5], [3], [1]]


def test_topics_and_subscriptions_are_walked_by_name(api: Api) -> None:
    for name in "cab":
        broker.create_topic(TopicConfig(name))
        broker.create_subscription(SubscriptionConfig(f"of-{name}", name))

    assert walk(api, "topics/?page_size=2", "name") == [["a", "b"], ["c"]]
    assert walk(api, "subscriptions/?page_size=2", "name") == [["of-a", "of-b"], ["of-c"]]


@pytest.mark.usefixtures("_orders")
def test_dead_letters_of_one_moment_are_walked_one_by_one(api: Api) -> None:
    broker.publish_many("orders", [broker.Outgoing(n) for n in range(5)])
    broker.reject([message.ack_id for message in broker.pull("audit")])
    now = timezone.now()
    DeadLetter.objects.update(dead_at=now)
    oldest = DeadLetter.objects.latest("id")
    DeadLetter.objects.filter(pk=oldest.pk).update(dead_at=now - timedelta(hours=1))

    pages = walk(api, "dead-letters/?page_size=2", "id")

    ids = sorted(DeadLetter.objects.exclude(pk=oldest.pk).values_list("pk", flat=True), reverse=True)
    assert [pk for page in pages for pk in page] == [*ids, oldest.pk]


@pytest.mark.usefixtures("_orders")
def test_a_page_whose_rows_are_gone_is_empty_and_leads_back(api: Api) -> None:
    broker.publish_many("orders", [broker.Outgoing(n) for n in range(3)])
    broker.reject([message.ack_id for message in broker.pull("audit")])
    first = api.get("dead-letters/?page_size=2").json()
    DeadLetter.objects.exclude(pk__in=[row["id"] for row in first["results"]]).delete()

    last = api.get(first["next"]).json()

    assert (last["results"], last["next"]) == ([], None)
    assert api.get(last["previous"]).json()["results"] == first["results"]


@pytest.mark.usefixtures("_orders")
def test_a_cursor_of_another_list_is_refused(api: Api) -> None:
    broker.publish_many("orders", [broker.Outgoing(n) for n in range(3)])
    cursor = api.get("topics/orders/messages/?page_size=1").json()["next"].partition("cursor=")[2].partition("&")[0]

    assert api.get(f"dead-letters/?cursor={cursor}").status_code == 400
    assert api.get(f"topics/orders/messages/?cursor={cursor}A").status_code in {200, 400}
