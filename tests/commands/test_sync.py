import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from datapunk_broker import broker
from datapunk_broker.models import Subscription, Topic

pytestmark = pytest.mark.django_db

DECLARED = {
    "TOPICS": [{"name": "orders", "type": "topic"}],
    "SUBSCRIPTIONS": [{"name": "audit", "topic": "orders", "transport": "pull", "max_attempts": 5}],
}


def sync(*arguments: str, declared: Any = DECLARED, **options: Any) -> list[str]:
    out = io.StringIO()
    with override_settings(DATAPUNK_BROKER=declared):
        call_command("broker_sync", *arguments, stdout=out, **options)
    return out.getvalue().splitlines()


def test_what_is_missing_is_created_and_said() -> None:
    assert sync() == [
        "created topic orders",
        "created subscription audit",
        "2 created, 0 updated, 0 unchanged, 0 drifted.",
    ]
    assert Topic.objects.get().name == "orders"


def test_a_second_sync_changes_nothing() -> None:
    sync()

    assert sync() == ["0 created, 0 updated, 2 unchanged, 0 drifted."]
    assert sync(verbosity=2)[:2] == ["unchanged topic orders", "unchanged subscription audit"]


def test_what_is_declared_anew_is_updated() -> None:
    sync()

    said = sync(declared={**DECLARED, "TOPICS": [{"name": "orders", "type": "topic", "retention_hours": 48}]})

    assert said[0] == "updated topic orders (retention_hours)"


def test_what_people_changed_stays_and_is_shown() -> None:
    sync()
    broker.update_subscription("audit", {"max_attempts": 9})

    assert sync()[0] == "drift subscription audit: max_attempts is 9, declared as 5"
    assert Subscription.objects.listed().get().max_attempts == 9


def test_a_check_creates_nothing_and_fails_where_something_is_missing() -> None:
    out = io.StringIO()

    with override_settings(DATAPUNK_BROKER=DECLARED), pytest.raises(CommandError) as error:
        call_command("broker_sync", "--check", stdout=out)

    assert error.value.returncode == 1
    assert "missing topic orders" in out.getvalue()
    assert not Topic.objects.exists()


def test_a_check_fails_on_drift() -> None:
    sync()
    broker.update_subscription("audit", {"max_attempts": 9})

    with pytest.raises(CommandError, match="not as declared"):
        sync("--check")


def test_a_check_passes_where_all_is_as_declared() -> None:
    sync()

    assert sync("--check") == ["0 missing, 0 outdated, 2 unchanged, 0 drifted."]


def test_a_declaration_that_contradicts_itself_is_a_sentence() -> None:
    with pytest.raises(CommandError, match="binding"):
        sync(
            declared={
                "TOPICS": [{"name": "orders", "type": "fanout"}],
                "SUBSCRIPTIONS": [
                    {"name": "audit", "topic": "orders", "transport": "pull", "bindings": [{"routing_key": "eu"}]}
                ],
            }
        )
