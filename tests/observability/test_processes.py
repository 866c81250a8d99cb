"""Real web processes and real workers: what is scraped is the same, and true, wherever it is scraped."""

import http.client
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from socket import create_server
from typing import Any

import pytest
from celery import current_app
from django.conf import settings
from django.contrib.auth.models import User
from rest_framework.authtoken.models import Token

from datapunk_broker import broker, tasks
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.queues import HANDLER
from tests.observability.scraping import samples_of, value
from tests.processes import Process, until, url_of_test_database
from tests.servers.plugin import ROOT
from tests.shop.models import Effect

pytestmark = pytest.mark.django_db(transaction=True)

MANY = 1_000


class Processes:
    """Processes that see what this test commits, ended after it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def start(self, *command: str, **env: str) -> Process:
        servers = {"DATABASE_URL": url_of_test_database(), "REDIS_URL": settings.REDIS_URL}
        module: list[str | Path] = [sys.executable, "-W", "ignore", "-m", *command]
        process = Process(module, {"DJANGO_SETTINGS_MODULE": "tests.settings", **servers, **env}, cwd=ROOT)
        self._stack.callback(_end, process)
        return process

    def web(self, **env: str) -> Process:
        factory = "django.core.asgi:get_asgi_application"
        return self.start("uvicorn", "--factory", factory, "--port", "0", "--lifespan", "off", **env)

    def worker(self, name: str) -> Process:
        one = ("--pool", "prefork", "--concurrency", "1", "--queues", HANDLER, "--hostname", f"{name}@%h")
        return self.start("celery", "-A", "tests.shop", "worker", *one, "--without-gossip", "--without-mingle")


def _end(process: Process) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.popen.pid, signal.SIGKILL)  # a worker has a child, too
    process.popen.wait()


@pytest.fixture
def processes(empty_queues: None) -> Iterator[Processes]:
    with ExitStack() as stack:
        yield Processes(stack)


def get(web: Process, path: str, token: str = "") -> tuple[int, str]:
    address = web.line("INFO:     Uvicorn running on").split("http://")[1].split()[0]
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request("GET", path, headers={"Authorization": f"Token {token}"} if token else {})
    response = connection.getresponse()
    answer = response.status, response.read().decode()
    connection.close()
    return answer


def ready(web: Process) -> tuple[int, Any]:
    status, body = get(web, "/broker/health/ready")
    return status, json.loads(body)


def test_every_web_process_shows_what_all_workers_did(processes: Processes) -> None:
    webs = [processes.web(), processes.web()]
    workers = [processes.worker("first"), processes.worker("second")]
    until(lambda: len(current_app.control.ping(timeout=0.5)) == len(workers), lambda: workers[0].output)
    broker.create_topic(TopicConfig("orders", stream=False))
    handler = "tests.shop.subscribers:bill"
    broker.create_subscription(SubscriptionConfig("billing", "orders", handler=handler, batch_size=20))

    broker.publish_many("orders", [broker.Outgoing(number) for number in range(MANY)])
    for _ in workers:
        tasks.ring("handler")
    until(lambda: Effect.objects.count() >= MANY, lambda: f"{Effect.objects.count()} done; {workers[0].output}")
    until(lambda: acked() >= MANY, lambda: f"{acked()} acked")

    token = Token.objects.create(user=User.objects.create_user("prometheus")).key
    pages = [get(web, "/broker/metrics", token) for web in webs]
    assert [status for status, _ in pages] == [200, 200]
    for _, page in pages:
        found = samples_of(page)
        assert value(found, "published_total", topic="orders") == MANY
        assert value(found, "deliveries_total", subscription="billing", outcome="acked") == MANY
        assert value(found, "delivery_seconds_count", subscription="billing") == MANY
        assert value(found, "backlog", subscription="billing", state="ready") == 0
        assert "# TYPE django_migrations_" in page
    assert len(set(Effect.objects.values_list("pid", flat=True))) == len(workers)
    assert os.getpid() not in set(Effect.objects.values_list("pid", flat=True))
    assert [ready(web)[0] for web in webs] == [200, 200]


def acked() -> int:
    return broker.stats().subscriptions[0].settled["acked"]


def test_ready_names_the_servers_that_are_closed(processes: Processes) -> None:
    closed = {"DATABASE_URL": "postgresql://postgres@127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1/0"}
    web = processes.web(**closed)
    status, answer = ready(web)
    assert (status, answer["failed"]) == (503, ["celery", "database"])
    assert answer["checks"] == {"celery": "failed", "database": "failed", "pumps": "unknown", "sweep": "unknown"}
    assert get(web, "/broker/health/live")[0] == 200


def test_ready_answers_in_time_when_the_servers_take_a_connection_and_say_nothing(processes: Processes) -> None:
    with create_server(("127.0.0.1", 0), backlog=100) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        web = processes.web(DATABASE_URL=f"postgresql://postgres@{address}/none", REDIS_URL=f"redis://{address}/0")
        assert get(web, "/broker/health/live")[0] == 200
        began = time.monotonic()
        status, answer = ready(web)
        assert time.monotonic() - began < 8
        assert (status, answer["failed"]) == (503, ["celery", "database"])
