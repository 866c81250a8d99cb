"""A publish from a file that ends before the file does: through which line all is done is always said."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import connection

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.models import Message
from datapunk_broker.states import Transport
from tests.processes import Process, running, until, url_of_test_database

pytestmark = pytest.mark.django_db(transaction=True)

COUNTED = "500 published to orders (500 deliveries), 0 published before, 0 refused.\n"
PGAPPNAME = "tests.publish_ends"
"""What PostgreSQL knows the publishing process's connections by."""

SAID = f"{COUNTED}It ended early: the lines up to 500 are done.\n"

Publish = Callable[[int], None]


@pytest.fixture(autouse=True)
def orders() -> None:
    broker.create_topic(TopicConfig("orders"))
    broker.create_subscription(SubscriptionConfig("audit", "orders", transport=Transport.PULL))


@contextmanager
def publishing(tmp_path: Path) -> Iterator[tuple[Process, Publish]]:
    """A process that publishes what is written here; the first 500 of 600 lines are there."""
    pipe = tmp_path / "endless.jsonl"
    os.mkfifo(pipe)
    arguments = ("broker_publish", "orders", "--file", str(pipe))
    environment = {"DATABASE_URL": url_of_test_database(), "PGAPPNAME": PGAPPNAME}
    with running(*arguments, **environment) as process, pipe.open("w") as lines:

        def more(count: int) -> None:
            lines.write('{"payload": 1}\n' * count)
            lines.flush()

        more(600)
        until(lambda: Message.objects.exists() or None, lambda: process.output)
        yield process, more


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_whoever_ends_it_is_told(tmp_path: Path, how: signal.Signals) -> None:
    with publishing(tmp_path) as (process, _):
        code = process.end(how)

    assert code == 130, process.output
    assert SAID in process.output
    assert "Interrupted." in process.output
    assert "Traceback" not in process.output


def test_whoever_deletes_the_topic_meanwhile_ends_it(tmp_path: Path) -> None:
    with publishing(tmp_path) as (process, more):
        broker.delete_topic("orders", force=True)
        more(400)
        code = process.popen.wait(60)

    assert code == 1, process.output
    process.line("CommandError: No topic is called 'orders'")
    assert SAID in process.output


@pytest.mark.postgresql
def test_a_database_that_goes_away_ends_it(tmp_path: Path) -> None:
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
    with publishing(tmp_path) as (process, more):
        with connection.cursor() as cursor:
            cursor.execute(cut, [PGAPPNAME])
            assert cursor.rowcount > 0
        more(400)
        code = process.popen.wait(60)

    assert code == 1, process.output
    process.line("CommandError: The database refused:")
    assert SAID in process.output
    assert "Traceback" not in process.output
