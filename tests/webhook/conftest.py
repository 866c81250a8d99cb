"""A topic, an endpoint, and webhooks to it; the process's client is closed after each test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.models import Subscription
from datapunk_broker.pump import pump_for
from datapunk_broker.transports.webhook.client import close
from tests.webhook.site import Endpoint, serving

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

Allow = Callable[..., None]
Hook = Callable[..., Subscription]


@pytest.fixture
def topic(db: None) -> str:
    broker.create_topic(TopicConfig("orders", type="topic", stream=False))
    return "orders"


@pytest.fixture
def allow() -> Iterator[Allow]:
    """Let webhooks reach these networks, and no others that are not public."""
    with ExitStack() as stack:

        def allow(*networks: str) -> None:
            given = {**getattr(settings, "DATAPUNK_BROKER", {}), "WEBHOOK_ALLOWED_NETWORKS": networks}
            stack.enter_context(override_settings(DATAPUNK_BROKER=given))

        yield allow


@pytest.fixture
def endpoint(allow: Allow) -> Iterator[Endpoint]:
    """An endpoint that may be reached."""
    allow("127.0.0.0/8", "::1")
    with serving() as endpoint:
        yield endpoint
        close()


@pytest.fixture
def hook(topic: str, endpoint: Endpoint) -> Hook:
    """Make the webhook "hook"; it fails once only unless told otherwise."""

    def hook(**options: Any) -> Subscription:
        given = {"secret": SECRET, "endpoint_url": endpoint.url, "jitter": 0, **options}
        return broker.create_subscription(SubscriptionConfig("hook", topic, transport="webhook", **given))

    return hook


def drain() -> int:
    """Pump the webhooks until nothing is ready."""
    return pump_for("webhook").drain()
