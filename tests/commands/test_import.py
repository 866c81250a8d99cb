import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.models import Subscription, Topic

pytestmark = pytest.mark.django_db

AUDIT = {"name": "audit", "topic": "orders", "transport": "pull", "max_attempts": 5}
WHOLE = {"version": 1, "topics": [{"name": "orders", "type": "topic"}], "subscriptions": [AUDIT]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "topology.json"


def load(file: Path, whole: Any = WHOLE, *arguments: str) -> list[str]:
    out = io.StringIO()
    file.write_text(whole if isinstance(whole, str) else json.dumps(whole))
    call_command("broker_import", str(file), *arguments, stdout=out)
    return out.getvalue().splitlines()


def told(verb: Any, *arguments: Any) -> str:
    with pytest.raises(CommandError) as refused:
        verb(*arguments)
    assert refused.value.returncode == 1
    return str(refused.value)


def test_what_is_missing_is_created_and_said(file: Path) -> None:
    assert load(file) == [
        "created topic orders",
        "created subscription audit",
        "Created 2, updated 0, 0 unchanged.",
    ]
    assert Subscription.objects.listed().get().max_attempts == 5


def test_a_second_import_changes_nothing(file: Path) -> None:
    load(file)
    before = list(Topic.objects.values()), list(Subscription.objects.values())

    assert load(file) == [
        "unchanged topic orders",
        "unchanged subscription audit",
        "Created 0, updated 0, 2 unchanged.",
    ]
    assert (list(Topic.objects.values()), list(Subscription.objects.values())) == before


def test_what_differs_becomes_as_the_file_says_and_an_option_left_out_its_default(file: Path) -> None:
    load(file)
    broker.update_subscription("audit", {"max_attempts": 9, "timeout": 5, "bindings": [{"routing_key": "eu.#"}]})
    broker.update_topic("orders", {"retention_hours": 3})

    assert load(file)[:2] == [
        "updated topic orders (retention_hours)",
        "updated subscription audit (bindings, max_attempts, timeout)",
    ]
    row = Subscription.objects.listed().get()
    assert (row.max_attempts, row.timeout, row.bindings.count()) == (5, None, 0)


def test_what_the_file_does_not_name_stays_and_what_is_paused_stays_paused(file: Path) -> None:
    load(file)
    broker.create_topic(TopicConfig("refunds"))
    broker.create_subscription(SubscriptionConfig("billing", "orders"))
    broker.pause("audit")

    load(file, {**WHOLE, "topics": []})

    assert set(Topic.objects.live().values_list("name", flat=True)) == {"orders", "refunds"}
    assert dict(Subscription.objects.listed().values_list("name", "state")) == {"audit": "paused", "billing": "active"}


def test_a_topic_may_change_its_type_together_with_its_subscriptions(file: Path) -> None:
    load(file, {**WHOLE, "subscriptions": [{**AUDIT, "bindings": [{"routing_key": "eu.*"}]}]})

    load(file, {**WHOLE, "topics": [{"name": "orders", "type": "fanout"}]})

    assert Topic.objects.get().type == "fanout"


def test_publishers_see_what_was_imported_at_once(file: Path) -> None:
    load(file, {**WHOLE, "topics": [{"name": "orders", "type": "topic", "stream": False}]})
    assert broker.publish("orders", 1, routing_key="eu").deliveries == 1

    bound = [{**AUDIT, "bindings": [{"routing_key": "us"}]}]
    load(file, {**WHOLE, "topics": [{"name": "orders", "type": "topic", "stream": False}], "subscriptions": bound})

    assert broker.publish("orders", 1, routing_key="eu").deliveries == 0


def test_a_dry_run_says_all_and_changes_nothing(file: Path) -> None:
    broker.create_topic(TopicConfig("orders", retention_hours=48))

    assert load(file, WHOLE, "--dry-run") == [
        "would create subscription audit",
        "would update topic orders (retention_hours, type)",
        "Would create 1, would update 1, 0 unchanged.",
    ]
    assert not Subscription.objects.listed().exists()
    assert Topic.objects.get().retention_hours == 48


def test_a_file_comes_by_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(json.dumps(WHOLE).encode())))

    call_command("broker_import", "-", stdout=io.StringIO())

    assert Topic.objects.get().name == "orders"


def test_what_is_imported_is_not_declared_and_what_is_declared_drifts(file: Path) -> None:
    with override_settings(DATAPUNK_BROKER={"SUBSCRIPTIONS": [AUDIT]}):
        broker.sync()
        load(file, {**WHOLE, "subscriptions": [{**AUDIT, "max_attempts": 9}, {**AUDIT, "name": "new"}]})
        [drift] = broker.sync().drifted

    assert (drift.name, drift.field, drift.declared, drift.actual) == ("audit", "max_attempts", 5, 9)
    load(file, {"version": 1, "topics": [{"name": "refunds"}]})
    declared = {row.name for model in (Topic, Subscription) for row in model.objects.exclude(declared=None)}
    assert declared == {"audit"}


@pytest.mark.parametrize(
    ("whole", "place"),
    [
        ("", "line 1, column 1: is no JSON"),
        ('{"version": 1,\n "topics": [}', "line 2, column 13: is no JSON"),
        ("[]", "topology: must be a dict of options, not []"),
        ("[" * 200_000, "topology: is nested too deeply"),
        ('{"version": ' + "9" * 5000 + "}", "topology: cannot be read"),
        ('{"version": 1e999}', "topology: holds 1e999"),
        ('{"version": NaN}', "topology: holds NaN"),
        ('{"version": 1, "topics": [], "topics": []}', "topics: stands twice in one object"),
        ({}, "version: must be 1"),
        ({"version": True}, "version: must be 1"),
        ({"version": 2, "topics": []}, "version: must be 1, the one that this release reads, not 2"),
        ({"version": 1, "topic": []}, "topic: is no option of a topology. Did you mean 'topics'?"),
        ({"version": 1, "topics": {"name": "orders"}}, "topics: must be a list, not dict"),
        ({"version": 1, "topics": [7]}, "topics[0]: must be a TopicConfig or a dict, not int"),
        ({"version": 1, "topics": [{}]}, "topics[0].name: is missing"),
        ({"version": 1, "topics": [{"name": "a b"}]}, "topics[0].name: must be 1 to 200 letters"),
        ({**WHOLE, "subscriptions": [AUDIT, {**AUDIT, "tpoic": 1}]}, "Did you mean 'topic'?"),
        ({**WHOLE, "subscriptions": [AUDIT, AUDIT]}, "subscriptions.audit: is declared twice"),
        ({**WHOLE, "topics": []}, "subscriptions.audit.topic: 'orders' is no topic in the database"),
        ({**WHOLE, "subscriptions": [{**AUDIT, "bindings": [{"routing_key": 7}]}]}, "subscriptions.audit: "),
        ({**WHOLE, "subscriptions": [{**AUDIT, "handler": "a:b"}]}, "subscriptions.audit.handler: is for"),
        ({**WHOLE, "topics": [{"name": "orders", "schema": {"type": 7}}]}, "topics.orders"),
    ],
)
def test_what_is_wrong_with_a_file_is_named_and_nothing_is_changed(file: Path, whole: Any, place: str) -> None:
    said = told(load, file, whole)

    assert said.startswith(f"{file}: ")
    assert place in said
    assert said.endswith("\nNothing was changed.")
    assert not Topic.objects.exists()
    assert not Subscription.objects.exists()


def test_bytes_that_are_no_text_are_named(file: Path) -> None:
    file.write_bytes(b'{"version": "\xff"}')

    assert "cannot be read" in told(call_command, "broker_import", str(file))


def test_a_file_that_is_too_large_is_not_even_read(file: Path) -> None:
    file.touch()
    with file.open("r+b") as opened:
        opened.truncate(16 * 1024 * 1024 + 1)

    assert "more than 16,777,216 bytes are no topology" in told(call_command, "broker_import", str(file))


def test_a_file_that_is_not_there_is_a_sentence(file: Path) -> None:
    assert told(call_command, "broker_import", str(file)) == f"{file}: No such file or directory"


def test_a_refusal_undoes_all_that_came_before_it(file: Path) -> None:
    load(file)
    broker.create_topic(TopicConfig("refunds"))
    topics = [{"name": "first"}, {"name": "orders", "type": "topic", "retention_hours": 1}, {"name": "refunds"}]

    said = told(load, file, {**WHOLE, "topics": topics, "subscriptions": [{**AUDIT, "topic": "refunds"}]})

    assert "subscriptions.audit.topic: is 'orders' and cannot change" in said
    assert not Topic.objects.filter(name="first").exists()
    assert Topic.objects.get(name="orders").retention_hours is None


def test_a_topic_that_a_subscription_elsewhere_would_not_fit_is_refused(file: Path) -> None:
    load(file, {**WHOLE, "subscriptions": [{**AUDIT, "bindings": [{"routing_key": "eu.*"}]}]})

    assert "subscriptions.audit" in told(load, file, {"version": 1, "topics": [{"name": "orders", "type": "fanout"}]})


HOOK = {"name": "hook", "topic": "orders", "transport": "webhook", "endpoint_url": "https://example.com/hook"}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_a_webhook_keeps_its_secret_and_one_without_gets_one_that_is_told_of(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load(file, {**WHOLE, "subscriptions": [HOOK]})
    made = Subscription.objects.listed().get().secret
    said = capsys.readouterr().err
    assert said == "Made new secrets for hook. Give their own in the admin or over the API.\n"
    assert made not in said

    assert load(file, {**WHOLE, "subscriptions": [HOOK]})[1] == "unchanged subscription hook"
    load(file, {**WHOLE, "subscriptions": [{**HOOK, "timeout": 5}]})

    assert (Subscription.objects.listed().get().secret, capsys.readouterr().err) == (made, "")


def test_a_secret_that_stands_in_the_file_is_taken(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = load(file, {**WHOLE, "subscriptions": [{**HOOK, "secret": SECRET}]})

    assert Subscription.objects.listed().get().secret == SECRET
    assert SECRET not in "".join(said)
    assert capsys.readouterr().err == ""


def test_what_becomes_a_webhook_gets_a_secret_and_what_was_one_loses_it(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load(file)
    assert load(file, {**WHOLE, "subscriptions": [{**HOOK, "name": "audit"}]})[0].startswith(
        "updated subscription audit"
    )
    assert Subscription.objects.listed().get().secret
    assert "Made new secrets for audit" in capsys.readouterr().err

    load(file)

    assert Subscription.objects.listed().get().secret == ""
    assert capsys.readouterr().err == ""
