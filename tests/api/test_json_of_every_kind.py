"""Whatever JSON stands in a publish body: its very bytes come out again, or it is refused with a code."""

import pytest

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.models import Message
from tests.api.talk import Api

pytestmark = pytest.mark.django_db

KEPT = [
    b"null",
    b"-0",
    b"1e999",
    b"-1E+400",
    b"1" * 30,
    b"9" * 5000,
    b"0.1234567890123456789012345678901234567890",
    b'"\\u0000"',
    b'"\\ud800"',
    b'"\\udc00\\ud800"',
    b'"\\ud83d\\ude00 \\ud83d"',
    b'["\\\\ud800", "\\ud800", {"\\udfff": "payload"}]',
    b'"\xf0\x9f\x98\x80 \xc3\xbc \xef\xbf\xbf"',
    b'{ "b" : 1,\t"a"\r\n: [ ] , "b":2 }',
    b'{"":{"":[{}]}}',
    b"[" * 499 + b"]" * 499,
    b'{"payload": {"payload": 1}, "headers": "\\ud800"}',
    b'"</script>\\/\\b\\f"',
]

REFUSED = [
    b"",
    b"NaN",
    b"[Infinity]",
    b"-Infinity",
    b"01",
    b"1.",
    b".5",
    b"+1",
    b"0x10",
    b"[1,]",
    b"{,}",
    b"{'a':1}",
    b'{"a" 1}',
    b"nul",
    b"True",
    b'"\n"',
    b'"\x00"',
    b'"\\x41"',
    b'"\\u00"',
    b'"\xff"',
    b'"\xc0\xaf"',
    b'"\xed\xa0\x80"',
    b'"\xf4\x90\x80\x80"',
    b'"open',
    b"[1, 2",
    b'{"a":',
    b"1 2",
    b"// comment\n1",
    b"[" * 501 + b"]" * 501,
    b"[" * 100_000,
    b"[" * 100_000 + b"]" * 100_000,
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    b'["\\ud800", "\xff"]',
    b'["\\ud800"' + b"[" * 100_000,
]


@pytest.fixture(autouse=True)
def _orders(db: None) -> None:
    broker.create_topic(TopicConfig("orders"))
    broker.create_subscription(SubscriptionConfig("audit", "orders", transport="pull"))


def spliced(payload: bytes) -> bytes:
    return b'{"routing_key": "a", "payload": ' + payload + b' , "priority": 1}'


def payload_in(body: bytes, after: bytes = b'"payload":') -> bytes:
    """What stands behind the first ``"payload":`` of a response, which ends with other members."""
    return body.partition(after)[2]


@pytest.mark.parametrize("payload", KEPT, ids=lambda payload: repr(payload[:40]))
def test_it_is_delivered_as_it_was_published(api: Api, payload: bytes) -> None:
    sent = api.post("topics/orders/messages/", spliced(payload))

    assert sent.status_code == 201
    pulled = api.post("subscriptions/audit/pull/", {"max_messages": 1})
    assert payload_in(pulled.content).startswith(payload + b",")
    listed = api.get("topics/orders/messages/")
    assert payload_in(listed.content).startswith(payload + b",")
    one = api.get(f"messages/{sent.json()['id']}/")
    assert payload_in(one.content).startswith(payload + b",")


@pytest.mark.parametrize("payload", KEPT, ids=lambda payload: repr(payload[:40]))
def test_it_is_delivered_out_of_a_batch_as_it_was_published(api: Api, payload: bytes) -> None:
    body = b'{"messages": [' + spliced(b"1") + b" , " + spliced(payload) + b' ,{"payload":"\\ud800"}]}'

    assert api.post("topics/orders/messages/batch/", body).status_code == 201

    rest = api.post("subscriptions/audit/pull/", {}).content
    for expected in (b"1", payload, b'"\\ud800"'):
        rest = payload_in(rest, b'{"payload":')
        assert rest.startswith(expected + b",")
        rest = rest.removeprefix(expected)


@pytest.mark.parametrize("payload", REFUSED, ids=lambda payload: repr(payload[:40]))
@pytest.mark.parametrize("path", ["messages/", "messages/batch/"])
def test_it_is_refused_with_a_code(api: Api, path: str, payload: bytes) -> None:
    body = spliced(payload)

    refused = api.post(f"topics/orders/{path}", body if path == "messages/" else b'{"messages":[%s]}' % body)

    assert (refused.status_code, refused.json()["code"]) == (400, "payload_invalid")
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert not Message.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        b'{"payload": 1, "routing_key": "\\ud800"}',
        b'{"payload": "\\ud800", "headers": {"a": "\\udfff"}}',
        b'{"payload": 1, "headers": {"\\udfff": 1}}',
        b'{"payload": 1, "headers": {"a": 1e999}}',
        b'{"payload": 1, "headers": {"a": %s}}' % (b"9" * 5000),
        b'{"payload": 1, "headers": {"a": %s}}' % (b"[" * 50_000 + b"]" * 50_000),
        b'{"payload": 1, "\xff": 1}',
        b'{"payload": 1, "\\ud800": 1}',
        b'\xef\xbb\xbf{"payload": 1}',
        b'{"payload": 1}}',
        b"\xff\xfe{\x00}\x00",
        b"[]",
        b"1",
        b'"payload"',
    ],
)
def test_what_stands_around_a_payload_is_judged_as_strictly(api: Api, body: bytes) -> None:
    refused = api.post("topics/orders/messages/", body)

    assert (refused.status_code, refused.json()["code"]) == (400, "payload_invalid")


def test_of_a_payload_given_twice_the_last_counts_with_lone_surrogates_as_without(api: Api) -> None:
    api.post("topics/orders/messages/", b'{"payload": 1, "payload": 2}')
    api.post("topics/orders/messages/", b'{"payload": "\\ud800", "payload": "\\udfff"}')

    pulled = api.post("subscriptions/audit/pull/", {}).content.split(b'{"payload":')[1:]

    assert [pulled[0][:2], pulled[1][:9]] == [b"2,", b'"\\udfff",']


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("topics/orders/messages/", b'{"payload": 1, "routing_key": "\\ud800"}'),
        ("explain/", b'{"topic": "orders", "routing_key": "\\ud800"}'),
    ],
)
def test_a_lone_surrogate_that_cannot_be_kept_is_called_one(api: Api, path: str, body: bytes) -> None:
    assert "lone surrogate" in api.post(path, body).json()["detail"]


@pytest.mark.parametrize("path", ["topics/", "subscriptions/", "explain/", "dead-letters/redrive/", "token/"])
def test_no_other_body_is_answered_with_an_error_of_ours(api: Api, path: str) -> None:
    for payload in (*REFUSED, *KEPT):
        answer = api.post(path, b'{"name": "x", "topic": "orders", "ids": [], "payload": %s}' % payload)

        assert 400 <= answer.status_code < 500 or (path, answer.status_code) == ("dead-letters/redrive/", 200)
