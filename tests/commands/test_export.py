import io
import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.models import Subscription, Topic

pytestmark = pytest.mark.django_db


def export(*arguments: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("broker_export", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def subscribe(name: str, topic: str = "orders", **options: object) -> Subscription:
    return broker.create_subscription(SubscriptionConfig(name, topic, **options))  # type: ignore[arg-type]


def test_a_topology_is_written_by_name_with_what_differs_from_the_defaults() -> None:
    broker.create_topic(TopicConfig("refunds", retention_hours=48, schema={"type": "object"}))
    broker.create_topic(TopicConfig("orders", type="topic"))  # type: ignore[arg-type]
    subscribe("late", bindings=[{"routing_key": "eu.\N{EURO SIGN}"}, {"routing_key": "#"}], transport="pull")
    subscribe("early", breaker={"failures": 3, "open_seconds": 10})

    text, said = export()

    assert json.loads(text) == {
        "version": 1,
        "topics": [
            {"name": "orders", "type": "topic"},
            {"name": "refunds", "type": "fanout", "retention_hours": 48, "schema": {"type": "object"}},
        ],
        "subscriptions": [
            {"name": "early", "topic": "orders", "breaker": {"failures": 3, "open_seconds": 10}},
            {
                "name": "late",
                "topic": "orders",
                "transport": "pull",
                "bindings": [{"routing_key": "eu.\N{EURO SIGN}"}, {"routing_key": "#"}],
            },
        ],
    }
    assert (text.isascii(), text[-2:], said) == (True, "}\n", "")
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


def test_an_empty_broker_is_a_topology_too() -> None:
    assert json.loads(export()[0]) == {"version": 1, "topics": [], "subscriptions": []}


def test_neither_the_streams_own_nor_what_was_deleted_is_exported() -> None:
    broker.create_topic(TopicConfig("orders"))
    broker.create_topic(TopicConfig("gone"))
    subscribe("billing", "gone")
    broker.delete_topic("gone")

    exported = json.loads(export()[0])

    assert (len(exported["topics"]), exported["subscriptions"]) == (1, [])


def test_a_secret_is_never_written_and_its_subscription_is_named() -> None:
    broker.create_topic(TopicConfig("orders"))
    where = {"topic": Topic.objects.get(), "transport": "webhook", "endpoint_url": "https://example.com/"}
    Subscription.objects.create(name="hook", secret="whsec_c2VjcmV0", **where)
    Subscription.objects.create(name="open", **where)

    text, said = export()

    assert "whsec" not in text + said
    assert "secret" not in text
    assert said == "Not exported: the secrets of hook. An import keeps the secret that is there.\n"


def test_a_file_is_written_when_one_is_named(tmp_path: Path) -> None:
    broker.create_topic(TopicConfig("orders"))
    file = tmp_path / "topology.json"

    assert export("--output", str(file)) == ("", "")

    assert file.read_bytes().decode() == export()[0]


def test_a_file_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="No such file or directory"):
        export("--output", str(tmp_path / "nowhere" / "topology.json"))
