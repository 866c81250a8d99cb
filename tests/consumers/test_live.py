"""Reading a topic that stores nothing: what comes while one is there."""

from typing import Any

from datapunk_broker.models import Message
from tests.consumers.client import Client
from tests.consumers.conftest import make_topic, payloads, publish


def test_what_is_stored_nowhere_comes_live_and_without_positions(client: Client) -> None:
    make_topic("passing", type="topic", persistent=False)
    subscribed = client.subscribe("passing", routing_key="a.*")
    assert (subscribed["oldest"], subscribed["head"]) == (None, None)
    client.hear("caught_up")
    # The first hint may be told before the server hears of the topic: what is not stored is lost then.
    publish("passing", "first", routing_key="a.b")
    while not (items := _heard(client)):
        publish("passing", "again", routing_key="a.b")

    publish("passing", "other", routing_key="b.b")
    publish("passing", "last", routing_key="a.c")
    while items[-1]["payload"] != "last":
        items += client.items(1)

    assert {(item["position"], item["previous"]) for item in items} == {(None, None)}
    assert "other" not in payloads(items)
    assert not Message.objects.exists()


def test_live_messages_that_a_reader_was_too_slow_for_are_a_reset(client: Client) -> None:
    make_topic("passing", persistent=False)
    client.subscribe("passing", credit=1)
    client.hear("caught_up")
    while not _heard(client):
        publish("passing", "first")
    client.subscribe("passing", "quick")
    for n in range(4):
        publish("passing", str(n) * 600_000)
    client.hear_until(lambda frame: frame["sid"] == "quick" and _last(frame).startswith("3"))

    client.say("credit", sid="s", limit=100)

    reset = client.hear("reset")
    assert (reset["sid"], reset["reason"], reset["oldest"], reset["head"]) == ("s", "dropped", None, None)
    assert payloads(client.items(1)) == ["3" * 600_000]


def _last(frame: dict[str, Any]) -> str:
    return str(frame.get("items", [{"payload": ""}])[-1]["payload"])


def _heard(client: Client) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = client.hear("messages", patience=0.2)["items"]
    except TimeoutError:
        return []
    return found
