import importlib
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client import REGISTRY, CollectorRegistry

from datapunk_broker import broker, signals
from datapunk_broker.administration import Totals
from datapunk_broker.exceptions import TopicNotFoundError
from datapunk_broker.models import Traffic
from datapunk_broker.observability import collector, exporter, process
from datapunk_broker.observability.collector import RowsCollector
from datapunk_broker.states import BreakerState, FailureReason, Settled
from tests.engine.make import aged, died, make_subscription, make_topic, published
from tests.engine.racing import LONGEST, Actors
from tests.observability.scraping import Samples, samples_in, samples_of, value

pytestmark = pytest.mark.django_db(transaction=True)


class Reading:
    """Reads the totals, and counts how often, and with how many statements."""

    def __init__(self, may_end: threading.Event | None = None) -> None:
        self.statements: list[int] = []
        self.may_end = may_end

    def __call__(self) -> Totals:
        with CaptureQueriesContext(connection) as queries:
            totals = broker.totals()
        self.statements.append(len(queries))
        assert self.may_end is None or self.may_end.wait(LONGEST)
        return totals


@pytest.fixture
def actors() -> Iterator[Actors]:
    actors = Actors()
    yield actors
    actors.close()


def scraped(read: Callable[[], Totals] = broker.totals, keep: float = 0.0) -> Samples:
    return samples_in(RowsCollector(read, keep).collect())


def acked(subscription: int, *latencies_in_bucket: int) -> None:
    buckets = [*latencies_in_bucket, *[0] * (16 - len(latencies_in_bucket))]
    minute = timezone.now().replace(second=0, microsecond=0)
    about = {"subscription_id": subscription, "minute": minute, "outcome": Settled.ACKED}
    Traffic.objects.create(count=sum(buckets), seconds=0.5, buckets=buckets, **about)


def test_what_is_scraped_is_what_is_in_the_database() -> None:
    topic = make_topic()
    billing = make_subscription(topic, breaker_state=BreakerState.HALF_OPEN, breaker_until=timezone.now())
    aged(published(topic, 1, 2, 3), timedelta(minutes=2))
    died(billing, published(topic, 4), FailureReason.REJECTED)
    acked(billing.pk, 1, 0, 2)
    found = scraped()
    assert value(found, "published_total", topic="orders") == 4
    assert value(found, "deliveries_total", subscription="billing", outcome="acked") == 3
    assert value(found, "deliveries_total", subscription="billing", outcome="expired") == 0
    assert value(found, "backlog", subscription="billing", state="ready") == 3
    assert value(found, "oldest_unacked_seconds", subscription="billing") == pytest.approx(120, abs=30)
    assert value(found, "dead_letters", subscription="billing", reason="rejected") == 1
    assert value(found, "breaker_open", subscription="billing") == 1


def test_latencies_are_a_histogram_that_adds_up() -> None:
    billing = make_subscription(make_topic())
    make_subscription(make_topic("idle"), "idle")
    acked(billing.pk, 1, 0, 2)
    found = scraped()
    buckets = {
        key[1][0][1]: count for key, count in found.items() if key[0].endswith("_bucket") and "billing" in str(key)
    }
    assert (buckets["0.005"], buckets["0.01"], buckets["0.025"], buckets["+Inf"]) == (1, 1, 3, 3)
    assert len(buckets) == 16
    assert value(found, "delivery_seconds_count", subscription="billing") == 3
    assert value(found, "delivery_seconds_sum", subscription="billing") == 0.5
    assert value(found, "delivery_seconds_count", subscription="idle") == 0


def test_a_second_scrape_soon_after_does_not_ask_the_database() -> None:
    topic, read = make_topic(), Reading()
    rows = RowsCollector(read, keep=60)
    published(topic, 1)
    before = samples_in(rows.collect())
    published(topic, 2)
    assert samples_in(rows.collect()) == before
    assert len(read.statements) == 1


def test_a_scrape_takes_seven_statements_whatever_there_is() -> None:
    read = Reading()
    scraped(read)
    for name in ("a", "b", "c"):
        topic = make_topic(name)
        for number in range(3):
            acked(make_subscription(topic, f"{name}{number}").pk, 1)
        published(topic, 1, 2)
    scraped(read)
    assert read.statements == [7, 7]


def test_those_who_scrape_at_once_share_one_reading(actors: Actors) -> None:
    may_end = threading.Event()
    read = Reading(may_end)
    rows = RowsCollector(read, keep=60)
    make_topic()
    scrapes = [actors.start(lambda: samples_in(rows.collect())) for _ in range(6)]
    may_end.set()
    found = [scrape.result(LONGEST) for scrape in scrapes]
    assert len(read.statements) == 1
    assert [value(samples, "published_total", topic="orders") for samples in found] == [0] * 6


def test_a_database_that_hangs_leaves_out_its_own_metrics_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    make_topic()
    may_end = threading.Event()
    monkeypatch.setattr(collector, "WITHIN", 0.1)
    monkeypatch.setattr(exporter, "rows", RowsCollector(Reading(may_end)))
    found = samples_of(exporter.page("")[0].decode())
    monkeypatch.setattr(collector, "WITHIN", LONGEST)
    may_end.set()
    assert value(samples_in(exporter.rows.collect()), "published_total", topic="orders") == 0
    assert {name for name, _ in found} <= {
        "datapunk_broker_websocket_connections",
        "datapunk_broker_publish_rejected_total",
        "datapunk_broker_publish_rejected_created",
    }
    assert value(found, "websocket_connections") is not None


def test_a_database_that_is_away_leaves_out_its_own_metrics_and_the_next_scrape_has_them() -> None:
    make_topic()
    errors = iter([OperationalError("the server closed the connection"), None])

    def read() -> Totals:
        if error := next(errors):
            raise error
        return broker.totals()

    rows = RowsCollector(read)
    assert list(rows.collect()) == []
    assert value(samples_in(rows.collect()), "published_total", topic="orders") == 0


def test_beyond_the_limit_the_newest_share_one_series(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "MOST_TOPICS", 2)
    monkeypatch.setattr(collector, "MOST_SUBSCRIPTIONS", 1)
    for name in ("first", "second", "third", "fourth"):
        topic = make_topic(name)
        acked(make_subscription(topic, name).pk, 1, 1)
        published(topic, 1, 2)
    found = scraped()
    published_by = {key[1][0][1]: count for key, count in found.items() if key[0].endswith("published_total")}
    assert published_by == {"first": 2, "second": 2, "(others)": 4}
    assert value(found, "deliveries_total", subscription="(others)", outcome="acked") == 6
    assert value(found, "delivery_seconds_count", subscription="(others)") == 6
    assert value(found, "backlog", subscription="(others)", state="ready") == 6
    assert value(found, "backlog", subscription="second", state="ready") is None


def refusals() -> dict[tuple[str, str], float]:
    found = samples_in(process.rejected.collect())
    return {(dict(key[1])["topic"], dict(key[1])["code"]): n for key, n in found.items() if key[0].endswith("_total")}


def test_refusals_are_counted_and_never_by_a_name_that_a_client_made_up() -> None:
    make_topic("strict", max_message_size=1)
    before = refusals()
    for topic in ("strict", "made-up-1", "made-up-2"):
        with pytest.raises(broker.BrokerError):
            broker.publish(topic, "too long")
    signals.announce(signals.publish_refused, None, topic="made-up-3", code=TopicNotFoundError.code)
    grown = {key: count - before.get(key, 0) for key, count in refusals().items()}
    assert {key: count for key, count in grown.items() if count} == {
        ("strict", "message_too_large"): 1,
        ("unknown", "topic_not_found"): 3,
    }


def test_refusals_have_only_so_many_series(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MOST_REFUSALS", 0)
    signals.announce(signals.publish_refused, None, topic="one-too-many", code="queue_full")
    assert ("one-too-many", "queue_full") not in refusals()
    assert refusals()["(others)", "queue_full"] >= 1


def test_websocket_connections_come_and_go() -> None:
    def connections() -> Any:
        return value(samples_in(process.websockets.collect()), "websocket_connections")

    before = connections()
    process.websocket_opened()
    process.websocket_opened()
    process.websocket_closed()
    assert connections() == before + 1
    process.websocket_closed()


def test_connecting_or_reloading_again_makes_no_second_series() -> None:
    exporter.connect()
    try:
        importlib.reload(process)
        importlib.reload(exporter)
        exporter.connect()
        process.websocket_opened()
        found = samples_of(exporter.page("")[0].decode())  # fails on a sample that is there twice
        assert value(found, "websocket_connections") == 1
    finally:
        process.websocket_closed()


def test_registering_does_not_ask_the_database() -> None:
    registry = CollectorRegistry(auto_describe=True)
    read = Reading()
    registry.register(RowsCollector(read))
    assert read.statements == []


def test_the_metrics_are_in_the_registry_that_everybody_exports(monkeypatch: pytest.MonkeyPatch) -> None:
    make_topic()
    monkeypatch.setattr(exporter, "rows", RowsCollector(broker.totals))
    assert REGISTRY.get_sample_value("datapunk_broker_published_total", {"topic": "orders"}) == 0


def test_processes_that_share_a_directory_show_the_database_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_topic()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr(exporter, "rows", RowsCollector(broker.totals))
    assert value(samples_of(exporter.page("")[0].decode()), "published_total", topic="orders") == 0
