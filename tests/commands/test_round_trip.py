"""A topology comes back from its file as it was, whatever its options."""

import io
import json
import string
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from hypothesis import event, given, settings
from hypothesis import strategies as st

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.exceptions import BrokerError
from datapunk_broker.models import Topic
from datapunk_broker.states import DeliveryMode, Overflow, RetryStrategy, SubscriptionMode, TopicType, Transport
from tests.processes import manage

NAMES = st.sampled_from(["orders", "refunds", "a.b-c_d", "Z"])
WHOLE = st.integers(1, 1000)
SECONDS = st.floats(0, 8e5)
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
VALUES = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(-1e9, 1e9) | KEYS
HEADERS = st.dictionaries(st.text(string.ascii_letters, min_size=1), VALUES, max_size=3)
MATCHES = st.sampled_from(["all", "any", "all-with-x", "any-with-x"])

SCHEMAS = st.booleans() | st.fixed_dictionaries(
    {}, optional={"type": st.sampled_from(["object", "string"]), "const": VALUES, "maxLength": WHOLE, "title": KEYS}
)
BINDINGS = {
    "direct": st.fixed_dictionaries({"routing_key": KEYS}),
    "topic": st.fixed_dictionaries({"routing_key": st.sampled_from(["#", "eu.*", "*.paid.#", "\N{EURO SIGN}", ""])}),
    "headers": st.tuples(HEADERS, MATCHES).map(lambda both: {"headers": {**both[0], "x-match": both[1]}}),
}
TOPIC = {
    "type": st.sampled_from(TopicType),
    "delivery_mode": st.sampled_from(DeliveryMode),
    "persistent": st.booleans(),
    "max_message_size": WHOLE,
    "max_queue_size": WHOLE,
    "overflow": st.sampled_from(Overflow),
    "max_subscribers": WHOLE,
    "retention_hours": SECONDS,
    "compression_threshold": WHOLE,
    "schema": SCHEMAS,
    "stream": st.booleans(),
    "dead_letter_topic": st.just("dead"),
    "history": st.booleans(),
}
SUBSCRIPTION = {
    "transport": st.sampled_from([Transport.HANDLER, Transport.PULL, Transport.WEBHOOK]),
    "mode": st.sampled_from([SubscriptionMode.INDIVIDUAL, SubscriptionMode.BATCH]),
    "delivery_mode": st.sampled_from(DeliveryMode),
    "ack_deadline": st.floats(20, 100),
    "timeout": st.floats(1, 20),
    "max_attempts": WHOLE,
    "retry_strategy": st.sampled_from(RetryStrategy),
    "retry_delay": SECONDS,
    "backoff_factor": st.floats(1, 1000),
    "max_retry_delay": SECONDS,
    "jitter": st.floats(0, 1),
    "batch_size": WHOLE,
    "batch_window": SECONDS,
    "max_in_flight": WHOLE,
    "ordering": st.booleans(),
    "breaker": st.just(value=False) | st.fixed_dictionaries({"failures": WHOLE, "open_seconds": st.floats(1, 100)}),
    "endpoint_url": st.sampled_from(["https://example.com/hook", "https://example.com/?a=1&b=%20"]),
    "handler": st.sampled_from(["", "shop.orders:bill", "shop.orders:Bills.bill"]),
}


@st.composite
def topologies(draw: st.DrawFn) -> list[TopicConfig | SubscriptionConfig]:
    configs: list[TopicConfig | SubscriptionConfig] = []
    for topic in draw(st.lists(NAMES, unique=True)):
        options = {"type": "fanout", **draw(st.fixed_dictionaries({}, optional=TOPIC))}
        configs.append(TopicConfig(topic, **options))
        optional = SUBSCRIPTION
        if options["type"] in BINDINGS:
            bindings = st.lists(BINDINGS[options["type"]], max_size=3, unique_by=repr)
            optional = {**SUBSCRIPTION, "bindings": bindings}
        for number in range(draw(st.integers(0, 2))):
            drawn = draw(st.fixed_dictionaries({}, optional=optional))
            if drawn.get("transport") != Transport.WEBHOOK:
                drawn.pop("endpoint_url", None)
            configs.append(SubscriptionConfig(f"{topic}-{number}", topic, **drawn))
    return configs


def make(configs: list[TopicConfig | SubscriptionConfig]) -> None:
    """Make what the broker does not refuse: options may contradict each other."""
    for config in configs:
        with suppress(BrokerError):
            if isinstance(config, TopicConfig):
                broker.create_topic(config)
            else:
                broker.create_subscription(config)


def wipe() -> None:
    for name in list(Topic.objects.live().values_list("name", flat=True)):
        broker.delete_topic(name, force=True)


def export() -> str:
    out = io.StringIO()
    call_command("broker_export", stdout=out)
    return out.getvalue()


def load(text: str, directory: Path) -> str:
    file, out = directory / "topology.json", io.StringIO()
    file.write_text(text)
    call_command("broker_import", str(file), stdout=out)
    return out.getvalue()


def items(text: str) -> list[tuple[str, Any]]:
    whole = json.loads(text)
    return [(kind, item) for kind in ("topics", "subscriptions") for item in whole[kind]]


def test_every_option_is_tried() -> None:
    assert {"name", *TOPIC} == set(TopicConfig.__dataclass_fields__) - {"_"}
    options = set(SubscriptionConfig.__dataclass_fields__) - {"_", "secret"}
    assert {"name", "topic", "bindings", *SUBSCRIPTION} == options


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("topologies")


@pytest.mark.django_db
@settings(max_examples=60, deadline=None)
@given(topologies())
def test_what_was_wiped_comes_back_to_the_byte(
    directory: Path, configs: list[TopicConfig | SubscriptionConfig]
) -> None:
    with transaction.atomic():
        make(configs)
        exported = export()
        event(f"{len(items(exported))} items")
        wipe()
        assert items(export()) == []
        load(exported, directory)
        assert export() == exported
        assert f"Created 0, updated 0, {len(items(exported))} unchanged." in load(exported, directory)
        transaction.set_rollback(True)


@pytest.mark.django_db
@settings(max_examples=60, deadline=None)
@given(topologies(), topologies())
def test_an_import_makes_all_of_it_or_nothing(
    directory: Path,
    there: list[TopicConfig | SubscriptionConfig],
    wanted: list[TopicConfig | SubscriptionConfig],
) -> None:
    with transaction.atomic():
        make(wanted)
        exported = export()
        wipe()
        make(there)
        before = export()
        try:
            load(exported, directory)
        except CommandError:
            event("refused")
            assert export() == before
        else:
            event("made")
            after, named = items(export()), [(kind, item["name"]) for kind, item in items(exported)]
            assert [one for one in after if (one[0], one[1]["name"]) in named] == items(exported)
            others = [one for one in items(before) if (one[0], one[1]["name"]) not in named]
            assert [one for one in after if (one[0], one[1]["name"]) not in named] == others
            assert "Created 0, updated 0," in load(exported, directory)
        transaction.set_rollback(True)


def test_the_topology_of_the_demo_comes_back_in_a_project_that_lost_it(tmp_path: Path) -> None:
    env = {"DATABASE_URL": f"sqlite:///{tmp_path}/broker.sqlite3"}
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    wipe = "from datapunk_broker import broker\nfor name in {!r}: broker.delete_topic(name, force=True)"
    assert manage("migrate", "--no-input", **env).returncode == 0
    assert manage("broker_export", "--output", str(first), **env).returncode == 0
    topics = [item["name"] for kind, item in items(first.read_text()) if kind == "topics"]
    assert manage("shell", "-v0", "-c", wipe.format(topics), **env).returncode == 0

    done = manage("broker_import", str(first), **env)

    assert done.returncode == 0, done.stderr
    assert f"Created {len(items(first.read_text()))}, updated 0, 0 unchanged." in done.stdout
    assert manage("broker_export", "--output", str(second), **env).returncode == 0
    assert second.read_bytes() == first.read_bytes()
    assert len(topics) > 1
