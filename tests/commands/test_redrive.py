import io
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from datapunk_broker import broker
from datapunk_broker.models import DeadLetter, Delivery, Subscription
from datapunk_broker.states import FailureReason
from tests.engine.make import died, make_subscription, make_topic, published

pytestmark = pytest.mark.django_db


@pytest.fixture
def letters() -> list[DeadLetter]:
    """Three dead letters: two of billing, one of packing that was rejected."""
    topic = make_topic("orders")
    make_topic("others")
    billing, packing = make_subscription(topic, "billing"), make_subscription(topic, "packing")
    first, second = published(topic, 1, 2)
    return [*died(billing, [first, second]), *died(packing, [first], FailureReason.REJECTED)]


def redrive(*arguments: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("broker_redrive", *arguments, stdout=out, **options)
    return out.getvalue()


def owed() -> list[str]:
    """Return the subscriptions that something is owed to again."""
    ids = Delivery.objects.filter(message__in=DeadLetter.objects.exclude(redriven_at=None).values("message"))
    names = dict(Subscription.objects.values_list("pk", "name"))
    dead = set(DeadLetter.objects.exclude(redriven_at=None).values_list("message", "subscription"))
    return sorted(names[s] for m, s in ids.values_list("message", "subscription") if (m, s) in dead)


def test_every_open_dead_letter_is_delivered_again(letters: list[DeadLetter]) -> None:
    assert redrive("--all") == "3 dead letters are delivered again.\n"
    assert owed() == ["billing", "billing", "packing"]
    assert not DeadLetter.objects.open().exists()


@pytest.mark.parametrize(
    ("arguments", "again"),
    [
        (["--subscription", "billing"], ["billing", "billing"]),
        (["--reason", "rejected"], ["packing"]),
        (["--topic", "orders", "--subscription", "packing"], ["packing"]),
        (["--topic", "others"], []),
        (["--until", "2001-01-01"], []),
        (["--since", "2001-01-01T00:00:00+02:00", "--reason", "rejected"], ["packing"]),
    ],
)
def test_filters_say_which(letters: list[DeadLetter], arguments: list[str], again: list[str]) -> None:
    assert redrive(*arguments).startswith(f"{len(again)} dead letters")
    assert owed() == again


def test_a_time_without_a_zone_is_the_projects(letters: list[DeadLetter]) -> None:
    later = timezone.localtime(timezone.now() + timedelta(minutes=1)).replace(tzinfo=None)

    assert redrive("--since", later.isoformat(), "--dry-run").startswith("0 ")
    assert redrive("--until", later.isoformat(), "--dry-run").startswith("3 ")


def test_an_id_may_be_given_again(letters: list[DeadLetter]) -> None:
    assert redrive("--id", str(letters[0].pk), "--id", str(letters[2].pk)).startswith("2 ")
    assert owed() == ["billing", "packing"]


def test_a_dry_run_leaves_them(letters: list[DeadLetter]) -> None:
    assert redrive("--all", "--dry-run") == "3 dead letters would be delivered again.\n"
    assert DeadLetter.objects.open().count() == 3


def test_another_payload_takes_the_place_of_the_dead_one(letters: list[DeadLetter]) -> None:
    redrive("--id", str(letters[0].pk), "--payload", '{"mended":  1}')

    assert [message.body for message in broker.pull("billing")] == [b'{"mended":  1}']


def test_a_payload_may_be_null(letters: list[DeadLetter]) -> None:
    redrive("--id", str(letters[0].pk), "--payload", "null")

    assert [message.body for message in broker.pull("billing")] == [b"null"]


def test_a_rate_spreads_them(letters: list[DeadLetter]) -> None:
    redrive("--all", "--rate", "0.5")

    times = list(Delivery.objects.order_by("available_at").values_list("available_at", flat=True))
    assert times[-1] - times[0] >= timedelta(seconds=4)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--reason", "bad_luck"], "reason: must be one of"),
        (["--subscription", "biling"], "No subscription is called 'biling'"),
        (["--topic", "ordres", "--subscription", "billing"], "No topic is called 'ordres'"),
        (["--since", "yesterday"], "--since: invalid"),
        (["--all", "--rate", "0"], "rate: is 0.0"),
        (["--all", "--payload", "{"], "payload: is not JSON"),
    ],
)
def test_what_cannot_be_meant_is_a_sentence(letters: list[DeadLetter], arguments: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        redrive(*arguments)
    assert DeadLetter.objects.open().count() == 3


@pytest.mark.parametrize("arguments", [[], ["--dry-run"], ["--all", "--subscription", "billing"]])
def test_that_all_are_meant_has_to_be_said(letters: list[DeadLetter], arguments: list[str]) -> None:
    with pytest.raises(CommandError, match=r"--subscription.*or --all") as error:
        redrive(*arguments)
    assert error.value.returncode == 2
    assert DeadLetter.objects.open().count() == 3


@pytest.mark.parametrize("option", ["--subscription", "--topic"])
@pytest.mark.parametrize("name", ["a\0b", "\udcff", "x" * 201])
def test_what_is_no_name_is_nobody_s(option: str, name: str) -> None:
    with pytest.raises(CommandError, match="called"):
        redrive(f"{option}={name}")


def test_a_payload_that_is_no_text_is_refused(letters: list[DeadLetter]) -> None:
    with pytest.raises(CommandError, match="payload"):
        redrive("--all", "--payload", '"\udcff"')
    assert owed() == []
