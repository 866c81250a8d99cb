"""Export the metrics: in prometheus_client's own registry, so that django-prometheus shows them beside its own."""

import os
from collections.abc import Iterator

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.multiprocess import MultiProcessCollector

from datapunk_broker import broker
from datapunk_broker.observability import process
from datapunk_broker.observability.collector import RowsCollector
from datapunk_broker.observability.logs import get_logger

log = get_logger("metrics")

rows = RowsCollector(broker.totals)


class Exporter:
    """All of the broker's metrics as one collector; it looks them up late, so that modules can be reloaded."""

    def describe(self) -> Iterator[Family]:
        """Yield what there is to be."""
        yield from rows.describe()
        yield from process.rejected.describe()
        yield from process.websockets.describe()

    def collect(self) -> Iterator[Family]:
        """Yield what there is."""
        yield from rows.collect()
        yield from process.rejected.collect()
        yield from process.websockets.collect()


def connect() -> None:
    """Register the exporter, once, and listen to what is to be counted."""
    process.connect()
    try:
        REGISTRY.register(Exporter())
    except ValueError as error:
        log.debug("The metrics are registered already.", error=str(error))


def page(accept: str) -> tuple[bytes, str]:
    """Return all metrics of this process, and their content type, in the format that a scraper prefers.

    With PROMETHEUS_MULTIPROC_DIR the processes that share it are added up.
    """
    encode, content_type = choose_encoder(accept)
    return encode(_registry()), content_type


def _registry() -> CollectorRegistry:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    registry.register(rows)
    return registry
