"""A page of a list carries no more bodies than fit one answer."""

import random
from itertools import chain
from typing import Any

import pytest

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.models import Message
from tests.api.talk import Api

pytestmark = pytest.mark.django_db

MEBIBYTE = 2**20
MANY = 40
MOST = 17 * MEBIBYTE
"""A page with all that is around its bodies."""

PATHS = ("topics/orders/messages/?page_size=200", "dead-letters/?page_size=200")


def incompressible(size: int) -> str:
    return random.Random(size).randbytes(size // 2).hex()


@pytest.fixture
def _heavy(request: pytest.FixtureRequest, db: None) -> None:
    broker.create_topic(TopicConfig("orders"))
    broker.create_subscription(SubscriptionConfig("audit", "orders", transport="pull"))
    for n in range(MANY):
        broker.publish("orders", [n, request.param])
    while pulled := broker.pull("audit", MANY):  # a pull has a bound in bytes, too
        broker.reject([message.ack_id for message in pulled])


def walked(api: Api, path: str, way: str = "next") -> list[list[int]]:
    pages: list[list[int]] = []
    address: Any = path
    while address:
        answer = api.get(address)
        assert len(answer.content) < MOST
        page = answer.json()
        pages.append([row["payload"][0] for row in page["results"]])
        address = page[way]
    return pages


@pytest.mark.parametrize(
    "_heavy", [incompressible(MEBIBYTE - 64), "x" * (MEBIBYTE - 64)], ids=["noise", "packed"], indirect=True
)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.usefixtures("_heavy")
def test_a_page_of_large_bodies_is_cut_short_and_the_next_goes_on(api: Api, path: str) -> None:
    pages = walked(api, path)

    assert list(chain.from_iterable(pages)) == [*reversed(range(MANY))]
    assert [len(page) for page in pages] == [16, 16, 8]
    before_last = api.get(api.get(api.get(path).json()["next"]).json()["next"]).json()["previous"]
    assert [len(page) for page in walked(api, before_last, "previous")] == [16, 16]


@pytest.mark.parametrize("_heavy", ["x"], indirect=True)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.usefixtures("_heavy")
def test_one_body_that_is_larger_than_a_page_is_a_page(api: Api, path: str) -> None:
    huge = [0, incompressible(20 * MEBIBYTE)]
    newest = Message.objects.order_by("-id").values_list("pk", flat=True)[:2]
    Message.objects.filter(pk__in=list(newest)).update(body=str(huge).replace("'", '"').encode(), encoding="identity")

    page = api.get(path).json()

    assert [row["payload"] for row in page["results"]] == [huge]
    assert page["next"]
