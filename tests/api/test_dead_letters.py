"""Dead letters over HTTP."""

from base64 import urlsafe_b64encode
from datetime import timedelta
from typing import Any

import pytest

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.models import DeadLetter, Delivery, Message
from tests.api.talk import Api

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _dead(db: None) -> None:
    for topic, subscription in (("orders", "audit"), ("alerts", "on-call")):
        broker.create_topic(TopicConfig(topic))
        broker.create_subscription(SubscriptionConfig(subscription, topic, transport="pull"))
    broker.publish_many("orders", [broker.Outgoing({"id": n}) for n in range(2)])
    broker.publish("alerts", "fire")
    for subscription in ("audit", "on-call"):
        broker.reject([message.ack_id for message in broker.pull(subscription)], f"no use to {subscription}")


def found(api: Api, **query: Any) -> list[Any]:
    return [letter["payload"] for letter in api.get("dead-letters/", **query).json()["results"]]


def letter_of(payload: Any, api: Api) -> dict[str, Any]:
    letters: list[dict[str, Any]] = api.get("dead-letters/").json()["results"]
    return next(letter for letter in letters if letter["payload"] == payload)


def test_dead_letters_are_listed_the_latest_first_with_all_that_is_known(api: Api) -> None:
    letters = api.get("dead-letters/").json()["results"]

    assert [letter["topic"] for letter in letters] == ["alerts", "orders", "orders"]
    letter = letters[0]
    assert letter.keys() >= {"id", "message", "first_failed_at", "dead_at"}
    assert (letter["subscription"], letter["reason"], letter["attempts"]) == ("on-call", "rejected", 1)
    assert letter["error"].endswith("Reject: no use to on-call")
    assert letter["payload"] == "fire"
    assert api.get(f"messages/{letter['message']}/").json()["payload"] == "fire"


def test_dead_letters_are_found_by_subscription_topic_reason_and_time(api: Api) -> None:
    DeadLetter.objects.filter(topic__name="alerts").update(reason="timeout")
    dead_at = DeadLetter.objects.earliest("dead_at").dead_at

    assert found(api, subscription="on-call") == ["fire"]
    assert found(api, topic="alerts") == ["fire"]
    assert found(api, reason="timeout") == ["fire"]
    assert found(api, since=(dead_at + timedelta(hours=1)).isoformat()) == []
    assert len(found(api, since=dead_at.isoformat(), until=(dead_at + timedelta(hours=1)).isoformat())) == 3
    assert found(api, topic="alerts", subscription="audit") == []
    assert found(api, topic="nowhere") == []


def test_a_reason_that_is_none_is_refused(api: Api) -> None:
    assert api.get("dead-letters/", reason="bad luck").status_code == 400


def test_a_dead_letter_is_read_with_its_traceback(api: Api) -> None:
    DeadLetter.objects.update(traceback="File …")
    letter = letter_of("fire", api)

    assert api.get(f"dead-letters/{letter['id']}/").json() == {**letter, "traceback": "File …"}


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-01-31 12:00:00Z"])
def test_a_moment_outside_the_calendar_or_in_another_notation_is_refused_wherever_it_stands(
    api: Api, moment: str
) -> None:
    cursor = urlsafe_b64encode(f'[false,["{moment}",1]]'.encode()).decode()

    refused = [
        api.get("dead-letters/", since=moment),
        api.get("dead-letters/", cursor=cursor),
        api.post("dead-letters/redrive/", {"filter": {"until": moment}}),
    ]

    assert [(answer.status_code, answer.json()["code"]) for answer in refused] == [(400, "payload_invalid")] * 3
    assert [answer.json()["errors"][0]["field"] for answer in refused] == ["since", "cursor", "filter.until"]


@pytest.mark.parametrize("pk", ["0", "999999999999999999", "9999999999999999999999", "x", "-1"])
def test_a_dead_letter_that_is_not_there_is_not_found(api: Api, pk: str) -> None:
    assert api.get(f"dead-letters/{pk}/").status_code == 404
    assert api.delete(f"dead-letters/{pk}/").status_code == 404


def test_a_dead_letter_is_discarded(api: Api) -> None:
    letter = letter_of("fire", api)

    assert api.delete(f"dead-letters/{letter['id']}/").status_code == 204
    assert api.get(f"dead-letters/{letter['id']}/").json()["code"] == "dead_letter_not_found"
    assert len(found(api)) == 2


def test_dead_letters_are_redriven_by_their_ids(api: Api) -> None:
    letter = letter_of("fire", api)

    done = api.post("dead-letters/redrive/", {"ids": [letter["id"], letter["id"], 123456]})

    assert (done.status_code, done.json()) == (
        200,
        {"count": 1, "message_ids": [letter["message"]], "skipped": [123456]},
    )
    assert found(api, topic="alerts") == []
    assert [message.payload for message in broker.pull("on-call")] == ["fire"]


def test_dead_letters_are_redriven_by_a_filter(api: Api) -> None:
    done = api.post("dead-letters/redrive/", {"filter": {"topic": "orders", "reason": "rejected"}}).json()

    assert (done["count"], done["skipped"]) == (2, [])
    assert found(api) == ["fire"]
    assert api.post("dead-letters/redrive/", {"filter": {}}).json()["count"] == 1


def test_a_dry_run_only_says_what_would_be_done(api: Api) -> None:
    assert api.post("dead-letters/redrive/", {"filter": {}, "dry_run": True}).json()["count"] == 3
    assert len(found(api)) == 3
    assert not Delivery.objects.exclude(subscription__transport="stream").exists()


@pytest.mark.parametrize("payload", [{"id": 8}, None, False, "x"])
def test_dead_letters_are_redriven_with_another_payload(api: Api, payload: Any) -> None:
    letter = letter_of("fire", api)

    done = api.post("dead-letters/redrive/", {"ids": [letter["id"]], "payload": payload}).json()

    assert done["count"] == 1
    assert [message.payload for message in broker.pull("on-call")] == [payload]
    assert str(Message.objects.get(pk=done["message_ids"][0]).redriven_from) == letter["message"]


def test_another_payload_is_delivered_byte_for_byte(api: Api) -> None:
    payload = b'{"b" : 1.0, "a":"\\ud800" }'

    done = api.post("dead-letters/redrive/", b'{"ids": [%d], "payload": %s}' % (letter_of("fire", api)["id"], payload))

    assert done.json()["count"] == 1
    assert b'"payload":%s,' % payload in api.post("subscriptions/on-call/pull/", {}).content


def test_dead_letters_are_redriven_at_a_rate(api: Api) -> None:
    api.post("dead-letters/redrive/", {"filter": {"topic": "orders"}, "rate": 0.001})

    first, second = Delivery.objects.filter(subscription__name="audit").order_by("available_at")
    assert second.available_at - first.available_at >= timedelta(seconds=900)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"ids": [1], "filter": {}}, 400),
        ({"ids": 1}, 400),
        ({"ids": ["1"]}, 400),
        ({"ids": [0]}, 400),
        ({"ids": [2**63]}, 400),
        ({"ids": list(range(1, 1002))}, 400),
        ({"filter": {"reason": "bad luck"}}, 400),
        ({"filter": {"colour": "red"}}, 400),
        ({"filter": {"since": "yesterday"}}, 400),
        ({"filter": {"since": "2020-01-01T00:00:00"}}, 400),
        ({"filter": {}, "rate": 0}, 400),
        ({"filter": {}, "rate": 1e-300}, 400),
        ({"filter": {}, "rate": "fast"}, 400),
        ({"filter": {}, "dry_run": "no"}, 400),
        ({"filter": {"topic": "nowhere"}}, 404),
        ({"filter": {"subscription": "nowhere"}}, 404),
        ({"ids": []}, 200),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_redrive_that_is_not_clear_does_nothing(api: Api, body: dict[str, Any], status: int) -> None:
    assert api.post("dead-letters/redrive/", body).status_code == status
    assert len(found(api)) == 3


def test_another_payload_must_fit_the_topics_schema(api: Api) -> None:
    api.patch("topics/alerts/", {"schema": {"type": "string"}})

    refused = api.post("dead-letters/redrive/", {"filter": {"topic": "alerts"}, "payload": 1})

    assert (refused.status_code, refused.json()["code"]) == (422, "schema_mismatch")


def test_a_body_that_is_not_json_is_shown_as_text_or_in_base64(api: Api) -> None:
    for body in (b"<a/>", b"\xff"):
        broker.publish("alerts", body, content_type="text/xml")
    broker.reject([message.ack_id for message in broker.pull("on-call")])

    shown = [letter for letter in api.get("dead-letters/?topic=alerts").json()["results"] if "content_type" in letter]

    assert {letter.get("payload", letter.get("payload_base64")) for letter in shown} == {"<a/>", "/w=="}
