import re

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from datapunk_broker.observability import exporter
from datapunk_broker.observability.names import OF_THE_DATABASE, OF_THE_PROCESS, Kind, Metric

METRICS = (*OF_THE_DATABASE, *OF_THE_PROCESS)

PROMISED = {
    "datapunk_broker_published_total": ("topic",),
    "datapunk_broker_publish_rejected_total": ("topic", "code"),
    "datapunk_broker_deliveries_total": ("subscription", "outcome"),
    "datapunk_broker_delivery_seconds": ("subscription",),
    "datapunk_broker_backlog": ("subscription", "state"),
    "datapunk_broker_oldest_unacked_seconds": ("subscription",),
    "datapunk_broker_dead_letters": ("subscription", "reason"),
    "datapunk_broker_breaker_open": ("subscription",),
    "datapunk_broker_websocket_connections": (),
}


def test_the_metrics_are_those_that_are_promised() -> None:
    assert {metric.name: metric.labels for metric in METRICS} == PROMISED


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_labels_and_help_are_as_prometheus_asks(metric: Metric) -> None:
    assert re.fullmatch(r"datapunk_broker(_[a-z]+)+", metric.name)
    assert metric.name.endswith("_total") is (metric.kind is Kind.COUNTER)
    assert all(re.fullmatch(r"[a-z]+", label) for label in metric.labels)
    assert not {"le", "quantile", "job", "instance"} & set(metric.labels)
    assert re.fullmatch(r"[A-Z0-9].+[.]", metric.help, re.DOTALL)
    assert "message" not in metric.labels


@pytest.mark.django_db
def test_the_page_says_of_each_metric_what_it_is() -> None:
    body, content_type = exporter.page("text/plain")
    ours = [family for family in parse(body.decode()) if family.name.startswith("datapunk_broker_")]
    told = [family for family in ours if not family.name.endswith("_created")]  # when a series of a counter began

    assert content_type.startswith("text/plain; version=")
    expected = {metric.name.removesuffix("_total"): (metric.kind.value, metric.help) for metric in METRICS}
    assert {family.name: (family.type, family.documentation) for family in told} == expected


@pytest.mark.django_db
def test_the_page_is_openmetrics_for_whoever_prefers_that() -> None:
    body, content_type = exporter.page("application/openmetrics-text; version=1.0.0")
    families = {family.name for family in parse_openmetrics(body.decode())}

    assert content_type.startswith("application/openmetrics-text")
    assert families >= {name.removesuffix("_total") for name in PROMISED}


@pytest.mark.django_db
def test_django_prometheus_has_its_own_metrics_on_the_page() -> None:
    body, _ = exporter.page("")

    assert b"# TYPE django_" in body
