import io
import json
import signal
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from msgspec import Raw

from datapunk_broker import broker
from datapunk_broker.conf import TopicConfig
from datapunk_broker.engine.append import append
from datapunk_broker.management.commands.broker_tail import Command
from datapunk_broker.models import StreamEntry
from tests.processes import running, url_of_test_database

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def orders() -> None:
    broker.create_topic(TopicConfig("orders"))


def publish(*payloads: Any, **options: Any) -> None:
    """Publish to orders and its stream."""
    for payload in payloads:
        broker.publish("orders", payload, **options)
    append(using="default")


def tail(*arguments: str) -> list[dict[str, Any]]:
    out = io.StringIO()
    call_command("broker_tail", "orders", *arguments, stdout=out, stderr=io.StringIO())
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_messages_are_printed_from_the_oldest_on() -> None:
    publish({"n": 1}, {"n": 2}, routing_key="eu.paid", headers={"tier": "gold"}, correlation_id="c")

    first, second = tail("--from", "earliest", "--count", "2")

    assert (first["position"], first["payload"], second["position"]) == (1, {"n": 1}, 2)
    assert (first["routing_key"], first["headers"], first["correlation_id"]) == ("eu.paid", {"tier": "gold"}, "c")
    assert first["topic"] == "orders"


def test_messages_are_printed_after_a_position() -> None:
    publish("a", "b", "c")

    assert [line["payload"] for line in tail("--from", "1", "--count", "2")] == ["b", "c"]


def test_a_payload_with_line_breaks_stays_on_one_line_with_its_digits() -> None:
    publish(Raw(b'{\n  "n": 123456789012345678901234567890.10,\r\n  "text": "a\\nb"\n}'))
    out = io.StringIO()

    call_command("broker_tail", "orders", "--from", "earliest", "--count", "1", stdout=out)

    assert len(out.getvalue().splitlines()) == 1
    assert "123456789012345678901234567890.10" in out.getvalue()
    assert json.loads(out.getvalue())["payload"]["text"] == "a\nb"


def test_what_is_not_json_is_printed_as_text_or_in_base64() -> None:
    publish("é".encode(), content_type="text/plain")
    publish(b"\xff\x00", content_type="image/png")

    text, picture = tail("--from", "earliest", "--count", "2")

    assert (text["payload"], text["content_type"]) == ("é", "text/plain")
    assert (picture["payload_base64"], picture["content_type"]) == ("/wA=", "image/png")


def test_what_is_no_longer_kept_is_said() -> None:
    publish("a", "b", "c")
    StreamEntry.objects.filter(position__lte=2).delete()
    out, err = io.StringIO(), io.StringIO()

    call_command("broker_tail", "orders", "--from", "1", "--count", "1", stdout=out, stderr=err)

    assert json.loads(out.getvalue())["payload"] == "c"
    assert err.getvalue() == "Positions 2 to 2 are no longer kept.\n"


def test_a_topic_that_was_made_anew_is_read_from_its_beginning() -> None:
    out, err = io.StringIO(), io.StringIO()
    publish("a", "b")

    Command(stdout=out, stderr=err).follow("orders", 7, count=1)

    assert json.loads(out.getvalue())["payload"] == "a"
    assert err.getvalue() == "Position 7 is gone: orders was made anew, and begins at 1.\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["ordres"], "No topic is called 'ordres'"),
        (["orders", "--from", "yesterday"], "earliest, latest or a position"),
        (["orders", "--from", "5"], "ends at position 0"),
        (["unwatched"], "'unwatched' is off. Set stream=True"),
        (["fleeting"], "'fleeting' stores no messages. Set persistent=True, or"),
    ],
)
def test_what_cannot_be_followed_is_a_sentence(arguments: list[str], sentence: str) -> None:
    broker.create_topic(TopicConfig("unwatched", stream=False))
    broker.create_topic(TopicConfig("fleeting", persistent=False))

    with pytest.raises(CommandError, match=sentence):
        call_command("broker_tail", *arguments)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.django_db(transaction=True)
def test_a_process_that_follows_sees_what_commits_and_ends_when_it_is_told_to(how: signal.Signals) -> None:
    publish("before")

    with running("broker_tail", "orders", "--from", "earliest", DATABASE_URL=url_of_test_database()) as process:
        process.line('{"position":1,')
        publish("while it runs")
        line = process.line('{"position":2,')
        code = process.end(how)

    assert json.loads(line)["payload"] == "while it runs"
    assert (code, len(process.lines)) == (0, 2), process.output
    assert process.leaves_nothing()
