"""Rights over a socket: asked when it subscribes and publishes, and again while it reads."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from rest_framework.authtoken.models import Token

from datapunk_broker.models import Message, TopicGrant
from tests.consumers.client import connected
from tests.consumers.conftest import Site, make_pull, make_topic, payloads, publish, token_of


@pytest.fixture
def reader(transactional_db: None) -> User:
    """Somebody who may read the orders, and publish returns."""
    user = User.objects.create_user("reader")
    TopicGrant.objects.create(user=user, topic="orders.*", subscribe=True)
    TopicGrant.objects.create(user=user, topic="returns", publish=True)
    return user


@pytest.fixture(autouse=True)
def topics(transactional_db: None) -> None:
    for name in ("orders.eu", "orders.us", "returns", "secret"):
        make_topic(name)
    make_pull("audit", "orders.eu")
    make_pull("lost", "returns")
    make_pull("spy", "secret")


def test_what_one_may_not_see_is_not_there_and_what_one_may_not_do_is_denied(site: Site, reader: User) -> None:
    with connected(site.url, token_of(reader)) as client:
        refused = {}
        for sid, wish in {
            "see": {"topic": "secret"},
            "do": {"topic": "returns"},
            "pull": {"subscription": "spy"},
            "take": {"subscription": "lost"},
        }.items():
            client.say("subscribe", sid=sid, credit=1, **wish)
            refused[sid] = client.hear("error")["code"]
        for topic in ("secret", "orders.eu", "no such topic"):
            client.say("publish", id=topic, topic=topic, payload=1)
            refused[topic] = client.hear("error")["code"]
        assert refused == {
            "see": "topic_not_found",
            "do": "permission_denied",
            "pull": "subscription_not_found",
            "take": "permission_denied",
            "secret": "topic_not_found",
            "orders.eu": "permission_denied",
            "no such topic": "topic_not_found",
        }
        client.say("publish", id=1, topic="returns", payload=1)
        client.hear("published")
        client.subscribe("orders.eu")


def test_nobody_has_a_reply_published_where_they_may_not_publish_themselves(site: Site, reader: User) -> None:
    TopicGrant.objects.create(user=reader, topic="answers.*", publish=True)
    make_topic("answers.mine")
    refused = {"secret": "topic_not_found", "nowhere": "topic_not_found", "orders.eu": "permission_denied"}
    with connected(site.url, token_of(reader)) as client:
        for reply_to, code in refused.items():
            client.say("publish", id=reply_to, topic="returns", payload=1, reply_to=reply_to)
            error = client.hear("error")
            assert (error["id"], error["code"]) == (reply_to, code)
        assert not Message.objects.exists()
        client.say("publish", id=1, topic="returns", payload=1, reply_to="answers.mine")
        client.hear("published")
    assert Message.objects.get().reply_to == "answers.mine"


@pytest.mark.parametrize("kind", ["topic", "subscription"])
def test_rights_that_are_revoked_end_the_reading_and_the_rest_may_be_read_again(
    site: Site, reader: User, kind: str
) -> None:
    TopicGrant.objects.create(user=reader, topic="orders.us", subscribe=True)
    token = token_of(reader)
    with connected(site.impatient, token) as client:
        client.say("subscribe", sid="eu", credit=10, **{kind: {"topic": "orders.eu", "subscription": "audit"}[kind]})
        client.hear("subscribed")
        client.subscribe("orders.us", "us")

        TopicGrant.objects.filter(topic="orders.*").delete()

        told = client.hear_until(lambda frame: frame["type"] == "goodbye")
        assert {"type": "unsubscribed", "sid": "eu", "code": "permission_denied"} in told
        assert "us" not in [frame.get("sid") for frame in told if frame["type"] == "unsubscribed"]
        assert told[-1] == {"type": "goodbye", "code": 4014, "reconnect": True}
        assert client.closed() == 4014
    publish("orders.us", "after")
    with connected(site.impatient, token) as client:
        client.say("subscribe", sid="eu", topic="orders.eu", credit=10)
        assert client.hear("error")["code"] == "topic_not_found"
        client.subscribe("orders.us", "us", **{"from": {"position": 0}})
        assert payloads(client.items(1)) == ["after"]


@pytest.mark.parametrize(
    "revoke",
    [
        lambda user: Token.objects.filter(user=user).delete(),
        lambda user: User.objects.filter(pk=user.pk).update(is_active=False),
        lambda user: User.objects.filter(pk=user.pk).delete(),
    ],
    ids=["token", "inactive", "deleted"],
)
def test_whoever_is_not_vouched_for_any_more_is_sent_away(
    site: Site, reader: User, revoke: Callable[[User], object]
) -> None:
    with connected(site.impatient, token_of(reader)) as client:
        client.subscribe("orders.eu")
        revoke(reader)
        assert client.closed() == 4014


def test_the_right_to_publish_is_asked_again_too(site: Site, reader: User) -> None:
    with connected(site.impatient, token_of(reader)) as client:
        client.say("publish", id=0, topic="returns", payload=1)
        client.hear("published")
        TopicGrant.objects.filter(topic="returns").update(publish=False, manage=True)
        answer = {"type": "published"}
        for attempt in range(1, 20):
            client.silence(0.1)
            client.say("publish", id=attempt, topic="returns", payload=1)
            if (answer := client.hear("published", "error"))["type"] == "error":
                break
        assert answer["code"] == "permission_denied"
