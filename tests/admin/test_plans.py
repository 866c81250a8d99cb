"""What the lists of large tables ask for: whatever they are filtered by, no table is read or sorted whole."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from datapunk_broker.admin import dead_letters
from datapunk_broker.admin.counting import MOST
from datapunk_broker.ids import first_id_at
from datapunk_broker.models import DeadLetter, Message, Subscription, Topic
from datapunk_broker.states import FailureReason
from tests.admin.rooms import ids_on, page, url_of
from tests.engine.make import make_subscription, make_topic

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]

ROWS = 40_000
RARE = 100
"""One row of so many is of the rare topic, subscription and reason; and as many were redriven."""

REACH = 1_000

Populated = tuple[Topic, Topic, Subscription, Subscription]


@pytest.fixture(scope="module")
def populated(django_db_setup: None, django_db_blocker: Any) -> Iterator[Populated]:
    """Two large tables, on which the database has its statistics."""
    with django_db_blocker.unblock():
        topics = make_topic("common"), make_topic("rare")
        subscriptions = make_subscription(topics[0], "common"), make_subscription(topics[1], "rare")
        fill(topics, subscriptions)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
        yield *topics, *subscriptions
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE datapunk_broker_message, datapunk_broker_deadletter")
        Subscription.objects.all().delete()
        Topic.objects.all().delete()


def fill(topics: tuple[Topic, Topic], subscriptions: tuple[Subscription, Subscription]) -> None:
    began = timezone.now() - timedelta(seconds=ROWS)
    ids = [UUID(int=first_id_at(began + timedelta(seconds=n)).int + n) for n in range(ROWS)]
    Message.objects.bulk_create((message(pk, topics[is_rare(n)], n) for n, pk in enumerate(ids)), batch_size=2_000)
    letters = (letter(n, topics[is_rare(n)], subscriptions[is_rare(n)], pk, began) for n, pk in enumerate(ids))
    DeadLetter.objects.bulk_create(letters, batch_size=2_000)


def is_rare(n: int) -> bool:
    return n % RARE == 0


def message(pk: UUID, topic: Topic, n: int) -> Message:
    now = timezone.now()
    about: dict[str, Any] = {"priority": 0, "encoding": "identity", "content_type": "application/json"}
    moments: dict[str, Any] = {"published_at": now, "available_at": now}
    return Message(pk=pk, topic=topic, body=b"1", correlation_id=f"c-{n}", **about, **moments)


def letter(n: int, topic: Topic, subscription: Subscription, pk: UUID, began: datetime) -> DeadLetter:
    died = began + timedelta(seconds=n)
    reason = FailureReason.TIMEOUT if is_rare(n) else FailureReason.PROCESSING_ERROR
    about: dict[str, Any] = {"reason": reason, "attempts": 1, "first_failed_at": died, "dead_at": died}
    redriven_at = died if n % RARE == 1 else None
    return DeadLetter(topic=topic, subscription=subscription, message_id=pk, redriven_at=redriven_at, **about)


@pytest.fixture
def admin(client: Client, populated: Populated) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    return client


def statements(client: Client, model: str, asked: dict[str, Any]) -> list[str]:
    """Return everything that a list asks of its table."""
    with CaptureQueriesContext(connection) as asking:
        assert client.get(url_of(model), asked).status_code == 200
    found = [query["sql"] for query in asking if f'FROM "datapunk_broker_{model}"' in query["sql"]]
    assert len(found) >= 2, "a list and a count"
    return found


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def check(client: Client, model: str, asked: dict[str, Any], most: int = MOST) -> None:
    """See that no statement looks at many more rows than ``most``, and at none of them in the order of the table."""
    for statement in statements(client, model, asked):
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}")
            [[[explained]]] = cursor.fetchall()
        scans = [node for node in nodes(explained["Plan"]) if node.get("Relation Name") == f"datapunk_broker_{model}"]
        about = asked, statement, scans
        assert scans, about
        assert "Seq Scan" not in {node["Node Type"] for node in scans}, about
        assert sum(map(looked_at, scans)) <= most * 1.1, about


def looked_at(scan: dict[str, Any]) -> int:
    removed = scan.get("Rows Removed by Filter", 0) + scan.get("Rows Removed by Index Recheck", 0)
    return int((scan["Actual Rows"] + removed) * scan["Actual Loops"])


def ago(**by: float) -> str:
    return (timezone.now() - timedelta(**by)).isoformat()


MOMENTS: list[dict[str, Any]] = [
    *({"within": "hour"}, {"since": ago(minutes=5)}, {"until": ago(seconds=ROWS - 60)}),
    {"since": ago(hours=5), "until": ago(hours=4)},
]


@pytest.mark.parametrize("which", ["common", "rare"])
@pytest.mark.parametrize("moment", [{}, *MOMENTS])
def test_messages_are_listed_and_counted_by_an_index(
    admin: Client, populated: Populated, which: str, moment: dict[str, Any]
) -> None:
    topic = {"common": populated[0], "rare": populated[1]}[which]
    check(admin, "message", moment)
    check(admin, "message", {"topic": topic.pk, **moment})


def by(populated: Populated, which: str) -> list[dict[str, Any]]:
    """Each filter alone."""
    topic, subscription = populated[which == "rare"], populated[2 + (which == "rare")]
    reason = FailureReason.TIMEOUT if which == "rare" else FailureReason.PROCESSING_ERROR
    return [{}, {"topic": topic.pk}, {"subscription": subscription.pk}, {"reason__exact": reason.value}]


@pytest.mark.parametrize("which", ["common", "rare"])
@pytest.mark.parametrize("moment", [{}, *MOMENTS])
def test_dead_letters_are_listed_and_counted_by_an_index(
    admin: Client, populated: Populated, which: str, moment: dict[str, Any]
) -> None:
    for chosen in by(populated, which):
        check(admin, "deadletter", {**chosen, **moment})


def test_whole_pages_behind_the_first_are_found_by_an_index(admin: Client) -> None:
    for model in ("message", "deadletter"):
        check(admin, model, {"p": 150})


def test_a_message_is_found_by_its_id(admin: Client) -> None:
    check(admin, "deadletter", {"q": str(uuid4())})


@pytest.mark.parametrize("state", ["open", "redriven", "all"])
@pytest.mark.parametrize("moment", [{}, *MOMENTS])
def test_several_filters_and_those_without_an_index_choose_among_the_latest(
    admin: Client, populated: Populated, state: str, moment: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "REACH", REACH)
    topic, subscription, reason = by(populated, "rare")[1:]
    for chosen in ({}, topic, subscription, reason, {**topic, **subscription}, {**topic, **subscription, **reason}):
        asked = {**chosen, **moment} if state == "open" else {**chosen, **moment, "state": state}
        filters = len(chosen) + (state == "all" and bool(moment))
        check(admin, "deadletter", asked, MOST if filters <= (state == "open") else REACH)


def test_a_list_that_is_chosen_among_the_latest_says_so(
    admin: Client, populated: Populated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "REACH", REACH)
    topic, subscription, _ = by(populated, "rare")[1:]
    both = {**topic, **subscription}
    assert "among the latest 1000 alone" in page(admin, url_of("deadletter"), both)
    assert "among the latest" not in page(admin, url_of("deadletter"), topic)
    [latest, *_] = DeadLetter.objects.filter(topic=populated[1]).order_by("-pk").values_list("pk", flat=True)
    assert latest in ids_on(admin, "deadletter", **both)
    assert len(ids_on(admin, "deadletter", **both)) == REACH // RARE


def test_where_all_are_within_reach_all_are_listed(admin: Client, populated: Populated) -> None:
    said = page(admin, url_of("deadletter"), {"topic": populated[1].pk, "subscription": populated[3].pk})
    assert f"{ROWS // RARE} dead letters" in said
    assert "among the latest" not in said
