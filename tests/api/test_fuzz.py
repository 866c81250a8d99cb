"""A fuzzer reads the served schema and tries a running server against it, with every check it knows.

THOROUGH=1 makes many times as many requests, and walks through every border of every value as well.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from tests.api.serving import Server
from tests.servers.plugin import ROOT

THOROUGH = bool(os.environ.get("THOROUGH"))
EXAMPLES = 120 if THOROUGH else 12
FEWEST = 5_000 if THOROUGH else 400
PHASES = "examples,coverage,fuzzing,stateful" if THOROUGH else "fuzzing,stateful"

LATITUDE = (
    *("list_topics", "list_subscriptions", "list_messages", "list_dead_letters"),
    *("create_topic", "change_topic", "create_subscription", "change_subscription"),
    *("publish", "publish_batch", "redrive_dead_letters", "pull", "seek_subscription", "explain", "obtain_token"),
)
"""Operations with rules that a schema cannot tell: a cursor is one that was given out, a topic's dead letters do not
go to itself, a payload fits its topic, headers hold no NUL. What they refuse, they may refuse although it has the
right shape."""

CONFIG = """
hooks = "tests.api.fuzzing_hooks"
request-timeout = 60.0

[generation]
max-examples = {examples}
database = ":memory:"
{lenient}
"""

LENIENT = """
[[operations]]
include-operation-id = "{name}"
checks.positive_data_acceptance.expected-statuses = [
    "2xx", "3xx", "400", "401", "403", "404", "409", "413", "422", "429"
]
"""


def config() -> str:
    return CONFIG.format(examples=EXAMPLES, lenient="".join(LENIENT.format(name=name) for name in LATITUDE))


@pytest.fixture(autouse=True)
def _something_of_everything(transactional_db: None) -> None:
    for kind in ("fanout", "direct", "topic", "headers"):
        broker.create_topic(TopicConfig(kind, type=kind))
        broker.create_subscription(SubscriptionConfig(f"of-{kind}", kind, transport="pull"))
        broker.publish_many(kind, [broker.Outgoing(n, routing_key=f"of-{kind}") for n in range(5)])
        broker.reject([message.ack_id for message in broker.pull(f"of-{kind}", 3)])


@pytest.mark.timeout(3600 if THOROUGH else 240)
def test_no_request_makes_an_error_of_ours_or_breaks_the_schema(server: Server, token: str, tmp_path: Path) -> None:
    (tmp_path / "fuzz.toml").write_text(config())
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(tmp_path / "fuzz.toml"), "run"]
    options = ["-H", f"Authorization: Token {token}", "--checks", "all", "--no-color", "--continue-on-failure"]
    options += ["--phases", PHASES]

    command += [f"{server.root}schema/", *options]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr
    [(described, tested)] = re.findall(r"Selected: \d+/(\d+)\s+Tested: (\d+)", run.stdout)
    assert described == tested
    [count] = re.findall(r"(\d+) generated", run.stdout)
    assert int(count) >= FEWEST
    print(run.stdout[-1500:])  # noqa: T201
