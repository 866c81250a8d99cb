"""A fuzzer reads the served schema and tries a running server against it, with every check it knows.

It walks through every border of every value, and then makes up requests; THOROUGH=1 makes many times as many.
"""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.models import DeadLetter
from tests.api.serving import Server
from tests.servers.plugin import ROOT

THOROUGH = bool(os.environ.get("THOROUGH"))
EXAMPLES = 120 if THOROUGH else 16
PHASES = {"examples,coverage": 2_000, "fuzzing,stateful": 5_000 if THOROUGH else 500}
"""What the fuzzer does, each in a run of its own, with the fewest requests that it makes."""

CONFIG = f"""
hooks = "tests.api.fuzzing_hooks"
request-timeout = 60.0

[generation]
max-examples = {EXAMPLES}
database = ":memory:"

[checks]
positive_data_acceptance.expected-statuses = ["2xx", "3xx", "400", "403", "404", "409", "413", "422", "429"]
"""
"""A check of our own, among the hooks, holds 400, 413 and 422 to the reasons that they may have."""


@pytest.fixture
def letters(token: str) -> str:
    """Something of everything is there; the ids of the dead letters."""
    known_to_server = PBKDF2PasswordHasher().encode("pass", "salt", iterations=1_000)
    User.objects.filter(auth_token=token).update(password=known_to_server)
    for kind in ("fanout", "direct", "topic", "headers"):
        broker.create_topic(TopicConfig(kind, type=kind))
        broker.create_subscription(SubscriptionConfig(f"of-{kind}", kind, transport="pull"))
        broker.publish_many(kind, [broker.Outgoing(n, routing_key=f"of-{kind}") for n in range(5)])
        broker.reject([message.ack_id for message in broker.pull(f"of-{kind}", 3)])
    ids = DeadLetter.objects.exclude(subscription__name="of-topic").values_list("pk", flat=True)
    return " ".join(map(str, ids))


@pytest.mark.timeout(3600 if THOROUGH else 600)
@pytest.mark.parametrize("phases", PHASES)
def test_no_request_makes_an_error_of_ours_or_breaks_the_schema(
    server: Server, token: str, letters: str, phases: str, tmp_path: Path
) -> None:
    (tmp_path / "fuzz.toml").write_text(CONFIG)
    answers = tmp_path / "answers"
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(tmp_path / "fuzz.toml"), "run"]
    options = ["-H", f"Authorization: Token {token}", "--checks", "all", "--no-color", "--continue-on-failure"]
    told = {"FUZZING_ANSWERS": str(answers), "FUZZING_LETTERS": letters}

    command += [f"{server.root}schema/", *options, "--phases", phases]
    run = subprocess.run(command, cwd=ROOT, env={**os.environ, **told}, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr
    [(described, tested)] = re.findall(r"Selected: \d+/(\d+)\s+Tested: (\d+)", run.stdout)
    assert described == tested
    given = Counter(tuple(line.split()) for line in answers.read_text().splitlines())
    assert given.total() >= PHASES[phases]
    operations = {name for name, _ in given}
    assert len(operations) == int(described)
    # Chance deletes what it would need later; the walk along the borders has an order.
    accepted = {name for name, status in given if status.startswith("2")}
    assert accepted == operations or "coverage" not in phases
    print(given.total(), run.stdout[-1500:])  # noqa: T201
