"""Every door asks for its right: what one may not see is not there, what one may not do is denied."""

from typing import Any

import pytest

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.models import DeadLetter, Message
from datapunk_broker.rights import Managing
from tests.api.talk import Api, granted, somebody

pytestmark = pytest.mark.django_db

SEE, PUBLISH, SUBSCRIBE, MANAGE = "see", "publish", "subscribe", "manage"
RIGHTS = {SEE: "view_topic", PUBLISH: "add_message", SUBSCRIBE: "view_message", **{one: str(one) for one in Managing}}
CHANGE = Managing.CHANGE_SUBSCRIPTION

EVENT = {"id": "1", "source": "/s", "type": "t", "specversion": "1.0"}

DOORS: list[tuple[str, str, Any, str]] = [
    ("GET", "topics/orders/", None, SEE),
    ("PATCH", "topics/orders/", {"max_queue_size": 1}, Managing.CHANGE_TOPIC),
    ("DELETE", "topics/orders/?force=true", None, Managing.DELETE_TOPIC),
    ("POST", "topics/orders/messages/", {"payload": 1}, PUBLISH),
    ("POST", "topics/orders/messages/batch/", {"messages": []}, PUBLISH),
    ("GET", "topics/orders/messages/", None, SUBSCRIBE),
    ("GET", "messages/{message}/", None, SUBSCRIBE),
    ("GET", "messages/{message}/deliveries/", None, SUBSCRIBE),
    ("POST", "subscriptions/", {"name": "new", "topic": "orders"}, Managing.ADD_SUBSCRIPTION),
    ("GET", "subscriptions/audit/", None, SEE),
    ("PATCH", "subscriptions/audit/", {"max_attempts": 5}, CHANGE),
    ("DELETE", "subscriptions/audit/", None, Managing.DELETE_SUBSCRIPTION),
    ("POST", "subscriptions/audit/pause/", None, CHANGE),
    ("POST", "subscriptions/audit/resume/", None, CHANGE),
    ("POST", "subscriptions/audit/seek/", {"time": "2020-01-01T00:00:00Z"}, CHANGE),
    ("POST", "subscriptions/audit/pull/", {}, SUBSCRIBE),
    ("POST", "subscriptions/audit/ack/", {"ack_ids": []}, SUBSCRIBE),
    ("POST", "subscriptions/audit/nack/", {"ack_ids": []}, SUBSCRIBE),
    ("POST", "subscriptions/audit/reject/", {"ack_ids": []}, SUBSCRIBE),
    ("POST", "subscriptions/audit/extend/", {"ack_ids": [], "by": 1}, SUBSCRIBE),
    ("GET", "dead-letters/{letter}/", None, SUBSCRIBE),
    ("DELETE", "dead-letters/{letter}/", None, Managing.DISCARD),
    ("POST", "dead-letters/redrive/", {"ids": ["{letter}"]}, Managing.REDRIVE),
    ("POST", "dead-letters/redrive/", {"filter": {"topic": "orders"}}, Managing.REDRIVE),
    ("POST", "dead-letters/redrive/", {"filter": {"subscription": "audit"}}, Managing.REDRIVE),
    ("POST", "explain/", {"topic": "orders"}, SEE),
    ("GET", "audit/?subscription=audit", None, SEE),
]

BY_IDS = 22
"""Where an id that one may not see is skipped, as one that is not there."""


@pytest.fixture(autouse=True)
def _orders(db: None) -> None:
    for topic, subscription in (("orders", "audit"), ("people", "census")):
        broker.create_topic(TopicConfig(topic))
        broker.create_subscription(SubscriptionConfig(subscription, topic, transport="pull"))
        broker.publish(topic, 1)
        broker.reject([message.ack_id for message in broker.pull(subscription)])


def granting(right: str) -> str:
    """What a grant that opens such a door has to give."""
    return MANAGE if isinstance(right, Managing) else right


def answer_to(api: Api, door: tuple[str, str, Any, str]) -> int:
    method, path, body, _ = door
    letter = DeadLetter.objects.get(topic__name="orders")
    path = path.format(message=letter.message_id, letter=letter.pk)
    if body == {"ids": ["{letter}"]}:
        body = {"ids": [letter.pk]}
    return int(api.send(method, path, body).status_code)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: f"{door[0]} {door[1]}")
def test_a_door_opens_to_its_right_alone(door: tuple[str, str, Any, str]) -> None:
    needed = door[-1]
    for right, permission in RIGHTS.items():
        if needed not in (right, SEE):
            assert answer_to(Api(somebody(permission, name=right)), door) == 403, right
    assert answer_to(Api(somebody(name="nobody")), door) == (200 if DOORS.index(door) == BY_IDS else 404)
    assert answer_to(Api(granted("people", PUBLISH, SUBSCRIBE, MANAGE, name="other")), door) == (
        200 if DOORS.index(door) == BY_IDS else 404
    )
    assert answer_to(Api(), door) == 401
    assert answer_to(Api(somebody(RIGHTS[needed], name="right")), door) < 300


@pytest.mark.parametrize("door", [d for d in DOORS if d[-1] != SEE], ids=lambda door: f"{door[0]} {door[1]}")
@pytest.mark.parametrize("through", ["user", "group"])
def test_a_grant_opens_the_doors_of_its_topic(door: tuple[str, str, Any, str], through: str) -> None:
    assert answer_to(Api(granted("order*", granting(door[-1]), name="wrong", through=through)), door) in {404, 200}
    assert answer_to(Api(granted("orders.#", granting(door[-1]), name="right", through=through)), door) < 300


def names(answer: Any, member: str) -> set[str]:
    return {row[member] for row in answer.json()["results"]}


def test_lists_hold_what_one_may_see_and_read() -> None:
    reader, publisher = Api(granted("orders", SUBSCRIBE)), Api(granted("people", PUBLISH, name="bob"))

    assert names(reader.get("topics/"), "name") == {"orders"}
    assert names(reader.get("subscriptions/"), "name") == {"audit"}
    assert names(reader.get("dead-letters/"), "topic") == {"orders"}
    assert names(reader.get("audit/"), "topic") == {"orders"}
    stats = reader.get("stats/").json()
    assert [row["name"] for row in stats["topics"]] == ["orders"]
    assert [row["name"] for row in stats["subscriptions"]] == ["audit"]
    assert stats["dead_letters"] == {"rejected": 1}
    assert names(publisher.get("topics/"), "name") == {"people"}
    assert names(publisher.get("dead-letters/"), "topic") == set()


def test_who_has_no_right_at_all_finds_nothing() -> None:
    nobody = Api(somebody())

    for path in ("topics/", "subscriptions/", "dead-letters/", "audit/"):
        assert nobody.get(path).json()["results"] == []
    assert nobody.get("stats/").json() == {"topics": [], "subscriptions": [], "dead_letters": {}}


def test_a_topic_is_made_by_who_may_manage_one_of_its_name() -> None:
    manager = Api(granted("orders.*", MANAGE))

    assert manager.post("topics/", {"name": "orders.eu"}).status_code == 201
    assert manager.post("topics/", {"name": "people.eu"}).status_code == 403
    for n, permission in enumerate(set(RIGHTS.values()) - {"add_topic"}):
        assert Api(somebody(permission, name=f"bob-{n}")).post("topics/", {"name": "x"}).status_code == 403
    assert Api(somebody("add_topic", name="eve")).post("topics/", {"name": "x"}).status_code == 201


def test_redriving_everything_is_everything_that_one_may_manage() -> None:
    manager = Api(granted("orders", MANAGE))

    assert manager.post("dead-letters/redrive/", {"filter": {}}).json()["count"] == 1
    assert DeadLetter.objects.open().get().topic.name == "people"


def test_the_message_of_another_topic_is_not_there() -> None:
    message = Message.objects.get(topic__name="people")

    assert Api(granted("orders", SUBSCRIBE)).get(f"messages/{message.pk}/").json()["code"] == "message_not_found"


def test_one_subscription_cannot_settle_what_another_pulled() -> None:
    broker.publish("people", 2)
    [message] = broker.pull("census")
    reader = Api(granted("orders", SUBSCRIBE))

    answer = reader.post("subscriptions/audit/ack/", {"ack_ids": [message.ack_id]})

    assert answer.json() == {"settled": [], "lost": [message.ack_id]}


def test_a_secret_is_never_read() -> None:
    api = Api(somebody("change_subscription"))
    broker.create_subscription(SubscriptionConfig("hooked", "orders"))
    row = api.get("subscriptions/hooked/").json()

    assert "secret" not in row
    assert "previous_secret" not in row
    assert "secret" not in api.patch("subscriptions/hooked/", {"max_attempts": 4}).json()


def test_nothing_is_published_on_behalf_of_who_may_not_publish_there() -> None:
    broker.create_topic(TopicConfig("payments"))
    broker.create_topic(TopicConfig("mine"))
    api = Api(granted("mine", "publish", "subscribe", "manage"))
    asks = {"payload": 1, "reply_to": "payments"}
    assert api.post("topics/mine/messages/", asks).status_code == 404
    assert api.post("topics/mine/messages/batch/", {"messages": [asks]}).status_code == 404
    assert api.patch("topics/mine/", {"dead_letter_topic": "payments"}).status_code == 404
    assert api.post("topics/mine/messages/", {"payload": 1, "reply_to": "mine"}).status_code == 201
    assert api.patch("topics/mine/", {"dead_letter_topic": "mine"}).status_code != 404
    assert not Message.objects.filter(topic__name="payments").exists()


def test_who_sends_messages_to_an_address_must_be_allowed_to_read_them() -> None:
    webhook = {"name": "spy", "topic": "orders", "transport": "webhook", "endpoint_url": "https://93.184.216.34/"}
    manager = Api(granted("orders", MANAGE))

    assert manager.post("subscriptions/", webhook).status_code == 403
    assert (
        manager.patch(
            "subscriptions/audit/", {"transport": "webhook", "endpoint_url": "https://93.184.216.34/"}
        ).status_code
        == 403
    )
    assert manager.patch("subscriptions/audit/", {"endpoint_url": "https://93.184.216.34/"}).status_code == 403
    assert Api(granted("orders", MANAGE, SUBSCRIBE, name="bob")).post("subscriptions/", webhook).status_code == 201


def test_an_address_is_shown_to_who_may_change_it() -> None:
    url = "https://93.184.216.34/key"
    broker.create_subscription(SubscriptionConfig("hook", "orders", transport="webhook", endpoint_url=url))
    reader, manager = Api(granted("orders", SUBSCRIBE)), Api(granted("orders", MANAGE, name="bob"))

    for api, shown in ((reader, None), (manager, url)):
        assert api.get("subscriptions/hook/").json()["endpoint_url"] == shown
        assert [row["endpoint_url"] for row in api.get("subscriptions/").json()["results"]] == [None, shown]
