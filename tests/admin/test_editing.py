import msgspec
import pytest
from django.test import Client

from datapunk_broker.admin import editing
from datapunk_broker.models import DeadLetter, Delivery, Message, Subscription, Topic
from tests.admin.rooms import logged, page, posted, url_of
from tests.engine.make import delete_subscription, died, make_subscription, make_topic, published

pytestmark = pytest.mark.django_db


@pytest.fixture
def strict() -> Topic:
    return make_topic("strict", max_message_size=200)


def dead(topic: Topic, payload: object, **options: object) -> DeadLetter:
    [letter] = died(make_subscription(topic, f"of-{topic.name}"), published(topic, payload, **options))
    return letter


def edit(client: Client, letter: DeadLetter, payload: str) -> str:
    return posted(client, url_of("deadletter", "edit", letter.pk), {"payload": payload})


def new_body() -> bytes:
    return bytes(Message.objects.order_by("-pk")[0].body)


def test_the_payload_is_there_to_be_edited(admin: Client, topic: Topic) -> None:
    letter = dead(topic, {"amount": "12"})
    assert '{\n  "amount": "12"\n}</textarea>' in page(admin, url_of("deadletter", "edit", letter.pk))


def test_an_edited_payload_is_published_anew_for_that_subscription(admin: Client, topic: Topic) -> None:
    letter = dead(topic, {"amount": "12"}, routing_key="eu")
    said = edit(admin, letter, '{\r\n  "amount": 123456789012345678901234567890.10,\r\n  "note": "a  b"\r\n}')
    new = Message.objects.get(redriven_from=letter.message_id)
    assert new_body() == b'{"amount":123456789012345678901234567890.10,"note":"a  b"}', "every digit, no layout"
    assert (new.routing_key, Delivery.objects.get().message_id) == ("eu", new.pk)
    assert url_of("message", "change", new.pk) in said
    assert str(new.pk) in logged()[0]
    assert not DeadLetter.objects.open().exists()


@pytest.mark.parametrize("payload", ["null", "false", "0", '""'])
def test_any_json_value_is_a_payload(admin: Client, topic: Topic, payload: str) -> None:
    edit(admin, dead(topic, {"amount": "12"}), payload)
    assert new_body() == payload.encode()


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ('{"amount": 1,\r\n "b": oops}', "line 2, column 7"),
        ("", "not JSON"),
        ("NaN", "not JSON"),
        ("[" * 2000 + "]" * 2000, "nests deeper"),
        ('{"amount": "many"}', "does not fit the schema at /amount"),
        ('{"amount": 1, "pad": "' + "x" * 300 + '"}', "takes 200 at most"),
    ],
)
def test_what_is_refused_is_said_and_nothing_typed_is_lost(
    admin: Client, strict: Topic, payload: str, says: str
) -> None:
    letter = dead(strict, {"amount": 12})
    Topic.objects.update(schema={"type": "object", "properties": {"amount": {"type": "number"}}})
    Topic.objects.all().bump_routing()
    said = edit(admin, letter, payload)
    assert says in said
    assert f"{payload}</textarea>".replace("\r\n", "\n") in said.replace("\r\n", "\n")
    assert DeadLetter.objects.open().get() == letter
    assert Message.objects.count() == 1
    assert not logged()


def test_one_that_was_not_changed_is_redriven_as_it_was(admin: Client, topic: Topic) -> None:
    letter = dead(topic, msgspec.Raw(b'{"amount":  1}'))
    assert "It is delivered again." in edit(admin, letter, '{\r\n  "amount": 1\r\n}')
    assert Delivery.objects.get().message_id == letter.message_id
    assert Message.objects.count() == 1


def test_text_is_edited_as_text(admin: Client, topic: Topic) -> None:
    letter = dead(topic, b"{one\ntwo", content_type="text/plain")
    edit(admin, letter, "{one\r\nthree ")
    assert new_body() == b"{one\nthree "


def test_text_keeps_its_own_ends_of_lines(admin: Client, topic: Topic) -> None:
    letter = dead(topic, b"one\r\ntwo", content_type="text/plain")
    edit(admin, letter, "one\r\nthree")
    assert new_body() == b"one\r\nthree"


def test_binary_and_very_long_payloads_are_not_edited_here(
    admin: Client, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = dead(topic, b"\x00\xff", content_type="application/octet-stream")
    assert "Edit and redrive…" not in page(admin, url_of("deadletter", "change", binary.pk))
    said = page(admin, admin.get(url_of("deadletter", "edit", binary.pk)).headers["Location"])
    assert "cannot be edited here" in said
    monkeypatch.setattr(editing, "MOST_EDITED", 5)
    assert "cannot be edited here" in edit(admin, dead(make_topic("long"), "123456"), "1")
    assert DeadLetter.objects.open().count() == 2


def test_one_that_was_closed_meanwhile_is_not_edited(admin: Client, topic: Topic) -> None:
    letter = dead(topic, 1)
    posted(admin, url_of("deadletter", "redrive", letter.pk), {})
    assert "cannot be edited here" in edit(admin, letter, "2")
    assert Message.objects.count() == 1


def test_one_whose_subscription_is_gone_keeps_what_was_typed(admin: Client, topic: Topic) -> None:
    letter = dead(topic, 1)
    delete_subscription(Subscription.objects.get())
    said = edit(admin, letter, "[4711]")
    assert "It was not redriven" in said
    assert "[4711]</textarea>" in said
