import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from datapunk_broker import broker, signals
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.models import Message
from datapunk_broker.payload import decompress
from datapunk_broker.states import Encoding, TopicType, Transport

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def orders() -> None:
    broker.create_topic(TopicConfig("orders", type=TopicType.TOPIC))
    broker.create_subscription(SubscriptionConfig("audit", "orders", transport=Transport.PULL))


def publish(*arguments: str, **options: Any) -> tuple[str, str]:
    """Return what the command said, and what it complained of."""
    out, err = io.StringIO(), io.StringIO()
    call_command("broker_publish", *arguments, stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()


def refused(*arguments: str) -> tuple[str, str, CommandError]:
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(CommandError) as error:
        call_command("broker_publish", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue(), error.value


def body_of(message: Message) -> bytes:
    return decompress(bytes(message.body), Encoding(message.encoding), limit=1 << 20)


def written(tmp_path: Path, *lines: str) -> str:
    file = tmp_path / "messages.jsonl"
    file.write_text("".join(f"{line}\n" for line in lines))
    return str(file)


def test_every_line_of_a_file_is_published_with_its_envelope(tmp_path: Path) -> None:
    line = {
        "payload": {"id": 7},
        "routing_key": "eu.paid",
        "headers": {"tier": "gold", "private": False},
        "ordering_key": "customer-7",
        "priority": 9,
        "idempotency_key": "o-7",
        "delay": 60,
        "ttl": 3600,
        "correlation_id": "c-7",
        "reply_to": "answers",
    }

    said, complained = publish("orders", "--file", written(tmp_path, json.dumps(line), '{"payload": null}'))

    assert said == "2 published to orders (2 deliveries), 0 published before, 0 refused.\n"
    assert complained == ""
    plain, full = Message.objects.order_by("priority")
    assert (plain.routing_key, plain.headers, body_of(plain)) == ("", {}, b"null")
    kept = {name: getattr(full, name) for name in line if name not in ("payload", "delay", "ttl")}
    assert kept == {name: value for name, value in line.items() if name in kept}
    assert (full.available_at - full.published_at).total_seconds() == 60
    assert full.expires_at is not None
    assert (full.expires_at - full.published_at).total_seconds() == 3600


def test_the_bytes_of_a_payload_stay_as_they_are_written(tmp_path: Path) -> None:
    payload = '{"b":1.10,  "a": 123456789012345678901234567890, "c":"\\u00e9é"}'

    publish("orders", "--file", written(tmp_path, f'{{"payload": {payload}, "routing_key": "x"}}'))

    assert body_of(Message.objects.get()) == payload.encode()


def test_a_bad_line_is_named_and_takes_no_other_with_it(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        '{"payload": 1}',
        "{not json",
        '{"payload": 2, "routingkey": "typo"}',
        "",
        '{"routing_key": "no.payload"}',
        '{"payload": 3, "priority": 12}',
        '{"payload": 4, "delay": 1e300}',
        '{"payload": 5}',
    )

    said, complained, error = refused("orders", "--file", file)

    assert sorted(body_of(message) for message in Message.objects.all()) == [b"1", b"5"]
    assert [line.partition(":")[0] for line in complained.splitlines()] == [
        f"line {number}" for number in (2, 3, 5, 7, 6)
    ]
    assert "routingkey" in complained
    assert "priority: is 12" in complained
    assert "2 published to orders (2 deliveries), 0 published before, 5 refused." in said
    assert str(error) == "5 of 7 lines were refused."
    assert error.returncode == 1


def test_an_empty_ordering_key_is_none_at_all(tmp_path: Path) -> None:
    publish("orders", "--file", written(tmp_path, '{"payload": 1, "ordering_key": ""}'))

    assert Message.objects.get().ordering_key is None


def test_what_was_published_before_is_counted_apart(tmp_path: Path) -> None:
    file = written(tmp_path, *(f'{{"payload": {n}, "idempotency_key": "k-{n}"}}' for n in range(3)))
    publish("orders", "--file", file)

    said, _ = publish("orders", "--file", file)

    assert said == "0 published to orders (0 deliveries), 3 published before, 0 refused.\n"
    assert Message.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_lines_go_in_batches_of_500(tmp_path: Path) -> None:
    batches: list[int] = []

    def count(message_ids: tuple[Any, ...], **_: Any) -> None:
        batches.append(len(message_ids))

    signals.published.connect(count)
    try:
        publish("orders", "--file", written(tmp_path, *['{"payload": 1}'] * 1001))
    finally:
        signals.published.disconnect(count)

    assert batches == [500, 500, 1]


def test_standard_input_is_a_file_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"payload": 1}\n{"payload": 2}')))

    said, _ = publish("orders", "--file", "-")

    assert said.startswith("2 published")


def test_one_message_is_given_on_the_command_line() -> None:
    headers = ("--header", "tier=gold", "--header", "private=false", "--header", 'n="1"')

    said, _ = publish("orders", "--payload", '{"id":  7}', "--routing-key", "eu.paid", "--priority", "3", *headers)

    message = Message.objects.get()
    assert said == f"{message.pk} to 1 subscriptions\n"
    assert (message.routing_key, message.priority, body_of(message)) == ("eu.paid", 3, b'{"id":  7}')
    assert message.headers == {"tier": "gold", "private": False, "n": "1"}


def test_a_payload_that_is_not_json_is_refused() -> None:
    _, _, error = refused("orders", "--payload", "{id: 7}")

    assert "payload: is not JSON" in str(error)


@pytest.mark.parametrize("source", [("--payload", "1"), ("--file", "-")])
def test_an_unknown_topic_is_a_sentence(source: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))

    _, _, error = refused("ordres", *source)

    assert "No topic is called 'ordres'" in str(error)


def test_a_file_that_is_not_there_is_a_sentence() -> None:
    _, _, error = refused("orders", "--file", "nowhere.jsonl")

    assert str(error) == "nowhere.jsonl: No such file or directory"


@pytest.mark.parametrize("seconds", ["nan", "inf", "-inf", "1e300"])
@pytest.mark.parametrize("option", ["delay", "ttl"])
def test_a_duration_that_is_none_is_a_sentence(option: str, seconds: str) -> None:
    _, _, error = refused("orders", "--payload", "1", f"--{option}={seconds}")

    assert str(error).startswith(f"{option}: is ")


def test_an_option_of_one_message_does_not_go_with_a_file() -> None:
    _, _, error = refused("orders", "--file", "-", "--routing-key", "eu.paid")

    assert "--routing-key goes with --payload" in str(error)
