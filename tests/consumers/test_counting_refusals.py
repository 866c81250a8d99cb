"""Publishes that the socket's door refuses are counted as those are that the broker refuses: once each."""

import json
from collections import Counter
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User

from datapunk_broker.models import TopicGrant
from tests.consumers.client import connected
from tests.consumers.conftest import Site, make_topic, token_of
from tests.observability.scraping import samples_of

REFUSED = "datapunk_broker_publish_rejected_total"

Refusals = Counter[tuple[str, str]]


def counted(site: Site, token: str) -> Refusals:
    """Return how many publishes were refused by now, by topic and code."""
    page = httpx.get(f"http://{site.address}/broker/metrics", headers={"Authorization": f"Token {token}"})
    labelled = [(dict(labels), n) for (name, labels), n in samples_of(page.text).items() if name == REFUSED]
    return Counter({(labels["topic"], labels["code"]): int(n) for labels, n in labelled})


@pytest.fixture
def publisher(transactional_db: None) -> str:
    """The token of somebody who may publish returns and whatever is called test-, and read orders."""
    user = User.objects.create_user("publisher")
    TopicGrant.objects.create(user=user, topic="returns", publish=True)
    TopicGrant.objects.create(user=user, topic="test.#", publish=True)
    TopicGrant.objects.create(user=user, topic="orders", subscribe=True)
    for name in ("returns", "orders", "secret"):
        make_topic(name)
    return token_of(user)


WISHES: tuple[tuple[dict[str, Any], tuple[str, str]], ...] = (
    ({"topic": "orders"}, ("orders", "permission_denied")),
    ({"topic": "secret"}, ("unknown", "topic_not_found")),
    ({"topic": "made-up"}, ("unknown", "topic_not_found")),
    ({"topic": "a/b"}, ("unknown", "topic_not_found")),
    ({"topic": "test.made-up"}, ("unknown", "topic_not_found")),
    ({"topic": "returns", "reply_to": "orders"}, ("returns", "permission_denied")),
    ({"topic": "test.made-up", "reply_to": "orders"}, ("unknown", "permission_denied")),
    ({"topic": "returns", "reply_to": "secret"}, ("unknown", "topic_not_found")),
    ({"topic": "returns", "priority": 10}, ("returns", "payload_invalid")),
)


def test_what_is_refused_is_counted_once_by_its_topic_and_code(site: Site, token: str, publisher: str) -> None:
    before = counted(site, token)
    with connected(site.url, publisher) as client:
        for wish, (_, code) in WISHES:
            client.say("publish", id=1, payload=1, **wish)
            assert client.hear("error")["code"] == code, wish
    assert counted(site, token) - before == Counter(label for _, label in WISHES)


FRAMES: tuple[tuple[Any, tuple[str, str] | None], ...] = (
    ({"type": "publish", "id": 1, "topic": "returns"}, ("returns", "frame_invalid")),
    ({"type": "publish", "id": 1, "topic": "returns", "payload": 1, "prioritty": 9}, ("returns", "frame_invalid")),
    ({"type": "publish", "id": 1, "topic": "orders", "payload": 1, "ttl": -1}, ("orders", "frame_invalid")),
    ({"type": "publish", "id": 1, "topic": "secret", "payload": 1, "ttl": -1}, ("unknown", "frame_invalid")),
    ({"type": "publish", "id": 1, "topic": "test.made-up", "payload": 1, "ttl": -1}, ("unknown", "frame_invalid")),
    ({"type": "publish", "id": 1, "topic": 7, "payload": 1}, ("unknown", "frame_invalid")),
    ({"type": "publish"}, ("unknown", "frame_invalid")),
    ({"type": "ping", "topic": "returns"}, None),
    ("publish", None),
)


def test_a_publish_frame_that_is_not_valid_is_counted_and_no_other_frame(
    site: Site, token: str, publisher: str
) -> None:
    before = counted(site, token)
    for frame, _ in FRAMES:
        with connected(site.url, publisher) as client:
            client.socket.send(json.dumps(frame))
            assert client.closed() == 4501
    assert counted(site, token) - before == Counter(label for _, label in FRAMES if label)


def test_who_is_not_known_is_not_counted(site: Site, token: str, publisher: str) -> None:
    before = counted(site, token)
    with connected(site.url) as client:
        client.say("publish", id=1, topic="returns")
        assert client.closed() == 4501
    assert not counted(site, token) - before
