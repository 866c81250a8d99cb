from datetime import timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from django.test import Client
from django.utils import timezone

from datapunk_broker.admin import counting, messages, payloads
from datapunk_broker.models import Message, SettledDelivery, Subscription, Topic
from datapunk_broker.states import Settled
from tests.admin.rooms import ids_on, page, url_of
from tests.engine.make import (
    aged,
    appended,
    claimed,
    delete_subscription,
    died,
    ended,
    make_subscription,
    make_topic,
    published,
)

pytestmark = pytest.mark.django_db


def shown(client: Client, message: Message) -> str:
    return page(client, url_of("message", "change", message.pk))


def payload_of(client: Client, message: Message) -> payloads.Shown:
    payload = client.get(url_of("message", "change", message.pk)).context["payload"]
    assert isinstance(payload, payloads.Shown)
    return payload


def test_json_is_laid_out_with_every_digit_and_escaped(admin: Client, topic: Topic) -> None:
    body = b'{"big":123456789012345678901234567890,"f":1.10,"html":"<script>\\u0041</script>","a":[],"o":{}}'
    [message] = published(topic, msgspec.Raw(body))
    payload = payload_of(admin, message)
    assert (payload.kind, payload.size, payload.whole) == ("JSON", len(body), True)
    assert payload.text.splitlines() == [
        "{",
        '  "big": 123456789012345678901234567890,',
        '  "f": 1.10,',
        '  "html": "<script>\\u0041</script>",',
        '  "a": [],',
        '  "o": {}',
        "}",
    ]
    assert "&lt;script&gt;" in admin.get(url_of("message", "change", message.pk)).content.decode()


def test_a_packed_payload_is_unpacked(admin: Client) -> None:
    topic = make_topic(compression_threshold=1)
    [message] = published(topic, {"text": "a" * 5000})
    assert message.encoding == "zstd"
    payload = payload_of(admin, message)
    assert payload.size == 5011
    assert "a" * 5000 in payload.text


def test_a_long_payload_is_cut_and_can_be_downloaded(
    admin: Client, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    [message] = published(topic, ["word"] * 40_000)
    payload = payload_of(admin, message)
    assert (len(payload.text), payload.whole) == (payloads.MOST_SHOWN, False)
    assert "the rest is left out" in shown(admin, message)
    answer = admin.get(url_of("message", "payload", message.pk))
    assert msgspec.json.decode(answer.content) == ["word"] * 40_000
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "attachment" in answer["Content-Disposition"]
    monkeypatch.setattr(payloads, "MOST_BYTES", 1000)
    assert payload_of(admin, message).kind == "too large"
    assert "too large to be unpacked" in shown(admin, message)
    assert admin.get(url_of("message", "payload", message.pk)).status_code == 404


def test_text_is_text_and_anything_else_is_bytes(admin: Client, topic: Topic) -> None:
    [text] = published(topic, b"one\ntwo", content_type="text/plain")
    [binary] = published(topic, bytes(range(256)) * 4, content_type="application/octet-stream")
    [broken] = published(topic, b"{broken", content_type="application/vnd.x+json")
    assert payload_of(admin, text) == payloads.Shown(payloads.Kind.TEXT, 7, "one\ntwo")
    assert payload_of(admin, broken).kind == "text"
    head = payload_of(admin, binary)
    assert (head.kind, head.size, head.whole) == ("binary", 1024, False)
    assert head.text.splitlines()[4].startswith("00000040  40 41 42 43")
    assert head.text.splitlines()[4].endswith("@ABCDEFGHIJKLMNO")
    assert len(head.text.splitlines()) == 32


def test_what_a_message_carries_is_shown_exactly(admin: Client, topic: Topic) -> None:
    [message] = published(topic, 1, routing_key="a <b> ", headers={"<i>": {"deep": [1, "ł"]}}, correlation_id="c-1")
    said = shown(admin, message)
    for text in ('<code class="broker-exact">a <b> </code>', '{"deep": [1, "ł"]}', "<i>", "c-1"):
        assert text in said


def test_deliveries_live_and_settled_stand_beside_it_by_name(admin: Client) -> None:
    topic = make_topic(stream=True)
    a, b, c, gone = (make_subscription(topic, name) for name in ("a", "b", "c", "gone"))
    [message] = published(topic, 1)
    claimed(a, [message])
    ended(b, [message], Settled.ACKED)
    died(c, [message], error_message="boom")
    appended([message])
    delete_subscription(gone)
    said = shown(admin, message)
    for text in ("claimed", "leased until", "acked", "dead", "ValueError", "gone (deleted)", "ready"):
        assert text in said
    assert "<td>1</td>" in said, "its position in the stream"
    assert "stream:orders" not in said
    Subscription.objects.filter(pk=gone.pk).delete()
    assert f"#{gone.pk} (gone)" in shown(admin, message)


def test_a_delivery_whose_row_is_not_kept_is_still_named(admin: Client, topic: Topic, billing: Subscription) -> None:
    [message] = published(topic, 1)
    ended(billing, [message])
    assert "acked" in shown(admin, message)
    SettledDelivery.objects.all().delete()
    assert "no row is kept" in shown(admin, message)


def test_an_edited_one_leads_back_to_its_source(admin: Client, topic: Topic) -> None:
    source, new = published(topic, 1, 2)
    Message.objects.filter(pk=new.pk).update(redriven_from=source.pk)
    assert url_of("message", "change", source.pk) in shown(admin, new)


def test_messages_are_found_by_id_idempotency_key_and_correlation_id(admin: Client, topic: Topic) -> None:
    other = make_topic("other")
    [a] = published(topic, 1, idempotency_key="key", correlation_id="shared")
    [b] = published(other, 1, idempotency_key="key")
    [c] = published(other, 1, correlation_id="shared")
    published(topic, 2, routing_key="key", ordering_key="shared")
    assert ids_on(admin, "message", q=str(a.pk)) == {a.pk}
    assert ids_on(admin, "message", q=f" {a.pk.hex} ") == {a.pk}
    assert ids_on(admin, "message", q="key") == {a.pk, b.pk}
    assert ids_on(admin, "message", q="key", topic=other.pk) == {b.pk}
    assert ids_on(admin, "message", q="shared") == {a.pk, c.pk}
    assert ids_on(admin, "message", q=str(uuid4())) == set()


def test_a_correlation_id_is_looked_for_among_the_newest(
    admin: Client, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "MOST", 3)
    old, *_, new = [published(topic, n, correlation_id="c")[0] for n in range(4)]
    assert new.pk in ids_on(admin, "message", q="c")
    assert old.pk not in ids_on(admin, "message", q="c")


def test_messages_are_narrowed_by_topic_and_time(admin: Client, topic: Topic) -> None:
    other = make_topic("other")
    [recent], [elsewhere] = published(topic, 1), published(other, 1)
    [old] = aged(published(topic, 2), timedelta(hours=3))
    hour_ago = timezone.localtime(timezone.now() - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M")
    everything = {recent.pk, elsewhere.pk, old.pk}
    narrowed: list[tuple[dict[str, Any], set[Any]]] = [
        ({}, everything),
        ({"topic": topic.pk}, {recent.pk, old.pk}),
        ({"within": "1h"}, {recent.pk, elsewhere.pk}),
        ({"within": "1d"}, everything),
        ({"within": "1h", "topic": topic.pk}, {recent.pk}),
        ({"since": hour_ago}, {recent.pk, elsewhere.pk}),
        ({"until": hour_ago}, {old.pk}),
        ({"since": hour_ago, "until": hour_ago}, set()),
        ({"until": "9998-01-01T00:00"}, everything),
        ({"since": "soon"}, set()),
        ({"since": "2026-02-31T00:00"}, set()),
        ({"until": "0001-01-01T00:00"}, set()),
        ({"topic": "orders"}, set()),
        ({"topic": "9" * 40}, set()),
    ]
    assert [ids_on(admin, "message", **params) for params, _ in narrowed] == [ids for _, ids in narrowed]


def test_a_filters_form_keeps_the_other_filters(admin: Client, topic: Topic) -> None:
    said = page(admin, url_of("message"), {"topic": topic.pk, "within": "1h", "q": "x"})
    assert f'<input type="hidden" name="topic" value="{topic.pk}">' in said
    assert '<input type="hidden" name="q" value="x">' in said
    assert f'<option value="{topic.pk}" selected>orders</option>' in said


def test_a_list_counts_no_further_than_it_says(admin: Client, topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "MOST", 3)
    published(topic, 1, 2, 3)
    assert "3 messages" in page(admin, url_of("message"))
    published(topic, 4)
    said = page(admin, url_of("message"))
    assert "3+ messages" in said
    assert "narrow the list" in said


def test_a_list_does_not_read_the_bodies(admin: Client, topic: Topic) -> None:
    published(topic, "secret body")
    rows = admin.get(url_of("message")).context["cl"].result_list
    assert rows[0].get_deferred_fields() == {"body"}


@pytest.mark.parametrize("pk", ["oops", "4711", pytest.param(str(uuid4()), id="none")])
def test_an_id_that_is_none_is_no_500(admin: Client, pk: str) -> None:
    assert admin.get(f"/admin/datapunk_broker/message/{pk}/change/").status_code == 302
    assert admin.get(f"/admin/datapunk_broker/message/{pk}/payload/").status_code == 404


def test_a_message_cannot_be_made_changed_or_deleted(admin: Client, topic: Topic) -> None:
    [message] = published(topic, 1)
    assert admin.get("/admin/datapunk_broker/message/add/").status_code == 403
    assert admin.post(url_of("message", "change", message.pk), {}).status_code == 403
    assert admin.post(url_of("message", "delete", message.pk), {"post": "yes"}).status_code == 403
    assert Message.objects.exists()
