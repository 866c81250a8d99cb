import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from celery import current_app
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from rest_framework.authtoken.models import Token

from datapunk_broker.engine.standby import stand_down
from datapunk_broker.models import Delivery, Standby
from datapunk_broker.observability import health as module
from datapunk_broker.observability import views
from datapunk_broker.observability.health import Health, ask_database, ask_pumps, ask_sweep, health
from datapunk_broker.states import BreakerState, SubscriptionState, Transport
from tests.engine.make import make_subscription, make_topic, published

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)
NOTHING_LISTENS = "redis://127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def _asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_keep", 0.0)
    monkeypatch.setattr(health, "_kept", None)


@pytest.fixture
def hanging() -> Iterator[threading.Event]:
    may_end = threading.Event()
    yield may_end
    may_end.set()


def ready(**headers: str) -> tuple[int, dict[str, Any]]:
    response = Client().get("/broker/health/ready", headers=headers)
    return response.status_code, response.json()


def waiting(**delivery: Any) -> None:
    """One delivery that has waited for an hour, for a handler; a timedelta is that long ago."""
    topic = make_topic()
    make_subscription(topic, transport=Transport.HANDLER)
    published(topic, 1)
    now, fields = timezone.now(), {"available_at": HOUR, **delivery}
    Delivery.objects.update(
        **{n: now - value if isinstance(value, timedelta) else value for n, value in fields.items()}
    )


def test_live_asks_nobody(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        response = Client().get("/broker/health/live")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_ready_says_ok_of_each_part_and_to_anybody_no_more() -> None:
    parts = {"database": "ok", "celery": "ok", "sweep": "ok", "pumps": "ok"}
    assert ready() == (200, {"status": "ok", "failed": [], "checks": parts})
    assert "details" not in ready(Authorization="Token wrong")[1]


def test_a_token_shows_what_is_known_of_the_parts() -> None:
    token = Token.objects.create(user=User.objects.create_user("prometheus"))
    Standby.objects.create(transport="handler", holder=uuid4(), until=timezone.now() + HOUR)
    Standby.objects.create(transport="stream", holder=uuid4(), until=timezone.now() - HOUR)
    _, answer = ready(Authorization=f"Token {token.key}")
    assert answer["details"] == {
        "database": {},
        "celery": {},
        "sweep": {"lag_seconds": 0.0},
        "pumps": {"standing_by": ["handler"], "stuck": []},
    }


def test_celerys_broker_is_named_when_nothing_listens_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(current_app.conf, "broker_write_url", NOTHING_LISTENS)
    status, answer = ready()
    assert (status, answer["status"], answer["failed"]) == (503, "failed", ["celery"])
    assert answer["checks"]["database"] == "ok"
    assert "127.0.0.1" not in str(answer)


@pytest.mark.parametrize(
    "unswept",
    [
        {"state": "scheduled"},
        {"state": "claimed", "ack_token": uuid4(), "lease_until": HOUR},
        {"expires_at": HOUR},
    ],
)
def test_the_sweep_is_named_when_something_waits_to_be_swept(unswept: dict[str, Any]) -> None:
    waiting(**unswept)
    token = Token.objects.create(user=User.objects.create_user("prometheus"))
    status, answer = ready(Authorization=f"Token {token.key}")
    assert (status, answer["failed"]) == (503, ["sweep"])
    assert answer["details"]["sweep"]["lag_seconds"] == pytest.approx(3600, abs=600)


def test_the_pumps_are_named_when_deliveries_wait_and_nobody_claims_any() -> None:
    waiting()
    status, answer = ready()
    assert (status, answer["failed"]) == (503, ["pumps"])


@pytest.mark.parametrize("why", ["stands by", "claimed", "young", "paused", "held by a breaker", "pulled"])
def test_pumps_are_well_when_they_have_nothing_to_do_or_are_about_it(why: str) -> None:
    waiting(**({"available_at": timedelta(0)} if why == "young" else {}))
    [row] = Delivery.objects.all()
    if why == "stands by":
        Standby.objects.create(transport="handler", holder=uuid4(), until=timezone.now() + HOUR)
    if why == "claimed":
        row.pk, row.message_id = None, uuid4()
        row.state, row.ack_token, row.lease_until = "claimed", uuid4(), timezone.now() + HOUR
        row.save()
    subscription = row.subscription
    if why == "paused":
        subscription.state = SubscriptionState.PAUSED
    if why == "held by a breaker":
        subscription.breaker_state, subscription.breaker_until = BreakerState.OPEN, timezone.now()
    if why == "pulled":
        subscription.transport = Transport.PULL
    subscription.save()
    assert ready()[0] == 200


def test_a_database_that_is_away_is_named_and_what_it_would_know_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> dict[str, Any]:
        raise OperationalError("connection to server at db.example failed: password authentication failed")

    monkeypatch.setattr(views, "health", Health({"database": away, "sweep": ask_sweep, "pumps": ask_pumps}))
    status, answer = ready(Authorization="Token anything")
    assert (status, answer["failed"]) == (503, ["database"])
    assert answer["checks"] == {"database": "failed", "sweep": "unknown", "pumps": "unknown"}
    assert "db.example" not in str(answer)


def test_a_part_that_hangs_is_named_in_time_and_is_not_asked_again_meanwhile(hanging: threading.Event) -> None:
    asked: list[int] = []

    def hang() -> dict[str, Any]:
        asked.append(1)
        hanging.wait(60)
        return {}

    hung = Health({"database": ask_database, "celery": hang}, keep=0)
    began = time.monotonic()
    parts = [hung.look(within=0.2) for _ in range(3)]
    assert time.monotonic() - began < 10
    assert [(found["database"].ok, found["celery"].ok) for found in parts] == [(True, False)] * 3
    assert asked == [1]
    hanging.set()
    assert hung.look(within=30)["celery"].ok


def test_whoever_asks_often_does_not_make_the_database_work(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def ask() -> dict[str, Any]:
        asked.append(1)
        return {}

    monkeypatch.setattr(views, "health", Health({"database": ask}, keep=60))
    assert [ready()[0] for _ in range(5)] == [200] * 5
    assert asked == [1]
    assert module.KEEP > 0


def test_a_pump_that_ended_a_moment_ago_is_there() -> None:
    waiting()
    Standby.objects.create(transport="handler", holder=uuid4(), until=timezone.now() - timedelta(seconds=5))
    assert ready()[0] == 200
    Standby.objects.update(until=timezone.now() - timedelta(seconds=40))
    assert ready()[1]["failed"] == ["pumps"]
    stand_down("handler", uuid4(), using="default")
    assert ready()[0] == 200
