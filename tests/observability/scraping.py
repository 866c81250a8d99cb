"""What a scraper makes of a page."""

from collections.abc import Iterable

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families as parse

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples_of(page: str) -> Samples:
    """The broker's own samples, each once."""
    return samples_in(parse(page))


def samples_in(families: Iterable[Metric]) -> Samples:
    found: Samples = {}
    for family in families:
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, key
            if sample.name.startswith("datapunk_broker_"):
                found[key] = sample.value
    return found


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((f"datapunk_broker_{name}", tuple(sorted(labels.items()))))
