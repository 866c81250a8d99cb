"""A list costs the same number of statements however long it is."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.models import Message
from tests.api.talk import Api, granted, somebody

pytestmark = pytest.mark.django_db

LISTS = {
    "topics/": 1,
    "subscriptions/": 2,
    "topics/orders/messages/": 3,
    "dead-letters/": 2,
    "messages/{message}/deliveries/": 4,
    "stats/": 10,
    "audit/": 2,
}
"""With the statements that each takes, beside the one that finds whose token it is."""

MOST_OF_A_BATCH = 9
"""On SQLite, its transaction and who asks included; PostgreSQL needs less than half."""


def fill(n: int) -> None:
    broker.create_topic(TopicConfig(f"topic-{n}"))
    name = f"subscription-{n}"
    bindings = [{"routing_key": "#"}, {"routing_key": f"{n}.#"}]
    broker.create_subscription(SubscriptionConfig(name, "orders", transport="pull", bindings=bindings))
    broker.publish("orders", n)
    broker.reject([broker.pull(name)[0].ack_id])
    broker.publish("orders", n)
    broker.nack([broker.pull(name)[0].ack_id])


def statements(ask: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as queries:
        ask()
    return len(queries)


@pytest.fixture(autouse=True)
def _some(db: None) -> None:
    broker.create_topic(TopicConfig("orders", type="topic"))
    fill(0)


@pytest.mark.parametrize("path", LISTS)
def test_a_list_takes_the_same_statements_for_one_row_and_for_many(api: Api, path: str) -> None:
    path = path.format(message=Message.objects.earliest("id").pk)
    one = statements(lambda: api.get(path))
    for n in range(1, 6):
        fill(n)

    assert (
        statements(lambda: api.get(path))
        == one
        == LISTS[path if path in LISTS else "messages/{message}/deliveries/"] + 1
    )


def test_whose_rights_are_granted_costs_a_few_more_whatever_their_number() -> None:
    api = Api(granted("orders", "subscribe", through="group"))
    one = statements(lambda: api.get("subscriptions/"))
    for n in range(1, 6):
        fill(n)

    assert statements(lambda: api.get("subscriptions/")) == one <= LISTS["subscriptions/"] + 5


def test_a_publish_takes_two_statements_more_than_the_engine(api: Api) -> None:
    body = {"payload": 1}
    api.post("topics/orders/messages/", body)

    engine = statements(lambda: broker.publish("orders", 1))

    assert statements(lambda: api.post("topics/orders/messages/", body)) == engine + 1


@pytest.mark.django_db(transaction=True)
def test_a_batch_is_one_transaction_of_the_same_few_statements_however_large(api: Api) -> None:
    def batch(size: int) -> list[str]:
        messages = [{"payload": n, "idempotency_key": f"{size}-{n}"} for n in range(size)]
        with CaptureQueriesContext(connection) as queries:
            assert api.post("topics/orders/messages/batch/", {"messages": messages}).status_code == 201
        return [query["sql"].partition(" ")[0] for query in queries]

    batch(1)
    few, many = batch(2), batch(1000)

    assert len(few) == len(many) <= MOST_OF_A_BATCH
    assert [statement for statement in many if statement in {"BEGIN", "COMMIT"}] == ["BEGIN", "COMMIT"]


@pytest.mark.parametrize("path", ["stats/", "audit/"])
def test_nothing_is_counted_for_who_sees_nothing(path: str) -> None:
    nobody = Api(somebody())
    with CaptureQueriesContext(connection) as queries:
        assert nobody.get(path).status_code == 200

    tables = ("delivery", "message", "deadletter", "traffic", "trafficminute", "subscription")
    asked = " ".join(query["sql"] for query in queries)
    assert not [table for table in tables if f'FROM "datapunk_broker_{table}"' in asked]
    assert len(queries) <= 5
