import io
import json
import os
import pty
import signal
import subprocess
import sys

import pytest
from django.core.management import CommandError, call_command

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.models import Delivery
from datapunk_broker.states import Transport
from tests.processes import ROOT, environment, manage, running, url_of_test_database

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def orders() -> None:
    broker.create_topic(TopicConfig("orders"))
    for name in ("billing", "packing"):
        broker.create_subscription(SubscriptionConfig(name, "orders", transport=Transport.PULL))
    broker.publish_many("orders", [broker.Outgoing(n) for n in range(3)])
    broker.ack([message.ack_id for message in broker.pull("billing", 2)])


def status(*arguments: str) -> str:
    out = io.StringIO()
    call_command("broker_status", *arguments, stdout=out)
    return out.getvalue()


def cells(text: str, name: str) -> list[str]:
    """Return the cells of the row that begins with a name."""
    return next(line.split() for line in text.splitlines() if line.startswith(f"{name} "))


def test_topics_and_subscriptions_are_told_with_their_totals() -> None:
    text = status()

    assert cells(text, "orders") == ["orders", "fanout", "2", "3", "3"]
    name, topic, transport, state, backlog, *_ = cells(text, "billing")
    assert (name, topic, transport, state, backlog) == ("billing", "orders", "pull", "active", "1")
    *_, acked, dead, breaker, audit = cells(text, "billing")
    assert (acked, dead, breaker, audit) == ("2", "0", "closed", "0")


def test_columns_are_aligned_and_numbers_stand_to_the_right() -> None:
    header, orders = status().splitlines()[1:3]

    assert header.index("messages") + len("messages") == orders.index("3") + 1
    assert header.index("type") == orders.index("fanout")


def test_a_loss_shows_in_the_audit() -> None:
    Delivery.objects.filter(subscription__name="packing").first().delete()  # type: ignore[union-attr]

    assert status().count("1 missing, 0 surplus") == 1


def test_the_audit_can_be_left_out() -> None:
    assert cells(status("--no-audit"), "billing")[-1] == "-"


def test_json_says_all_of_it_on_one_line() -> None:
    text = status("--json")

    told = json.loads(text)
    assert len(text.splitlines()) == 1
    assert told["topics"][0]["messages"] == 3
    assert {row["name"]: row["backlog"]["ready"] for row in told["subscriptions"]}["packing"] == 3
    assert [line["balance"] for line in told["audit"]] == [0, 0]


@pytest.mark.django_db(transaction=True)
def test_a_watch_goes_on_until_it_is_told_to_end() -> None:
    url = url_of_test_database()
    with running("broker_status", "--watch", "0.1", "--json", DATABASE_URL=url) as process:
        process.line('{"topics"')
        broker.publish("orders", 4)
        process.line('{"topics":[{"name":"orders","type":"fanout","messages":4')
        code = process.end(signal.SIGINT)

    assert code == 0, process.output
    assert "Traceback" not in process.output


@pytest.mark.django_db(transaction=True)
def test_a_terminal_gets_ruled_tables() -> None:
    ours, theirs = pty.openpty()
    env = environment({"DATABASE_URL": url_of_test_database(), "TERM": "xterm", "COLUMNS": "160"})
    command = [sys.executable, "manage.py", "broker_status"]
    done = subprocess.run(command, cwd=ROOT, env=env, stdin=theirs, stdout=theirs, check=True, timeout=60)
    os.close(theirs)
    text = os.read(ours, 1 << 16).decode()
    os.close(ours)

    assert done.returncode == 0
    assert "─" in text
    assert "billing" in text


def test_a_database_without_tables_is_a_sentence(tmp_path: object) -> None:
    done = manage("broker_status", DATABASE_URL=f"sqlite:///{tmp_path}/empty.sqlite3")

    assert done.returncode == 1
    assert "has manage.py migrate run?" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "1e300", "soon"])
def test_a_watch_that_would_spin_or_never_look_again_is_refused(seconds: str) -> None:
    with pytest.raises(CommandError, match="--watch"):
        call_command("broker_status", f"--watch={seconds}")
