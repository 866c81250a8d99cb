"""A topic, and subscriptions to it that are gone after the test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from datapunk_broker import broker
from datapunk_broker.conf import TopicConfig
from datapunk_broker.registry import registry
from datapunk_broker.states import TopicType
from datapunk_broker.transports.handler import unguarded

Subscribe = Callable[..., None]


@pytest.fixture
def topic(db: None) -> str:
    broker.create_topic(TopicConfig("orders", type=TopicType.TOPIC, stream=False))
    return "orders"


@pytest.fixture
def subscribe(topic: str) -> Iterator[Subscribe]:
    """Subscribe a function as "billing", or by the name given; it fails once only unless told otherwise."""

    def subscribe(function: Callable[..., Any], name: str = "billing", topic: str = topic, **options: Any) -> None:
        broker.subscribe(topic, function, name, **{"jitter": 0, **options})

    before = set(registry.names())
    yield subscribe
    for name in set(registry.names()) - before:
        registry.remove(name)
    unguarded.clear()
