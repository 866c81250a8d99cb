"""Which tests run on which database, and which Celery app they use."""

import pytest
from django.conf import settings
from django.db import connection
from redis import Redis

from datapunk_broker.doorbell import doorbell
from datapunk_broker.engine import claim
from datapunk_broker.queues import QUEUES
from tests.shop.celery import app

LONGEST = ("test_drills.py", "test_fuzz.py")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # Those that take minutes begin first, so that the others are done beside them.
    items.sort(key=lambda item: item.path.name not in LONGEST)
    if connection.vendor == "postgresql":
        return
    left_out = [item for item in items if item.get_closest_marker("postgresql")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session", autouse=True)
def _celery_app() -> None:
    """The app that was made last is everybody's, and a test of the demo project imports that one's."""
    app.set_current()
    app.set_default()


@pytest.fixture(autouse=True)
def _no_key_had_its_turn() -> None:
    """The next test's subscriptions may have the ids of the last one's."""
    claim._last_keys.clear()  # noqa: SLF001 - a process's own memory


@pytest.fixture
def empty_queues() -> None:
    """What other tests left for Celery's workers is gone."""
    assert doorbell.wait(60)
    with Redis.from_url(settings.REDIS_URL) as client:
        client.delete(*QUEUES)
