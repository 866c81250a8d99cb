"""A site in a process of its own, and somebody who may read and publish there."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections
from rest_framework.authtoken.models import Token

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.models import Topic
from datapunk_broker.pump import pump_for
from tests.consumers.client import PATIENCE, Client, connected

PGAPPNAME = "tests.consumers"
"""What PostgreSQL knows the site's connections by."""

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Site:
    """A running server. url: of the WebSocket; impatient: of the one with small limits."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"ws://{self.address}/ws/broker/"

    @property
    def impatient(self) -> str:
        return f"ws://{self.address}/ws/impatient/"


def start_site(*, port: int, log: Path, **environment: str) -> subprocess.Popen[bytes]:
    options = ["--ws", "websockets-sansio", "--ws-per-message-deflate", "false", "--lifespan", "off"]
    command = [sys.executable, "-m", "uvicorn", "tests.consumers.asgi:application", "--port", str(port), *options]
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": database_url(), "PGAPPNAME": PGAPPNAME, **environment},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    wait_for(process, port, log)
    return process


def database_url() -> str:
    settings = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{settings['NAME']}"
    user, password = quote(settings["USER"]), quote(settings["PASSWORD"])
    who = f"{user}:{password}@" if password else f"{user}@"
    return f"postgresql://{who}{settings['HOST']}:{settings['PORT']}/{settings['NAME']}"


def wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    waiting = threading.Event()
    for _ in range(600):
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            waiting.wait(0.1)
        else:
            return
    process.kill()
    raise RuntimeError(log.read_text())


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def shared_site(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with django_db_blocker.unblock():
        port, log = free_port(), tmp_path_factory.mktemp("site") / "log"
        process = start_site(port=port, log=log)
    yield Site(process, port)
    process.terminate()
    process.wait(PATIENCE)
    told = log.read_text()
    assert "Traceback" not in told, told


@pytest.fixture
def site(shared_site: Site, transactional_db: None) -> Site:
    return shared_site


@pytest.fixture
def token(transactional_db: None) -> str:
    """The token of somebody who may do everything."""
    return token_of(User.objects.create_superuser("root"))


def token_of(user: User) -> str:
    key: str = Token.objects.create(user=user).key
    return key


@pytest.fixture
def client(site: Site, token: str) -> Iterator[Client]:
    with connected(site.url, token) as client:
        yield client


Opened = Callable[..., AbstractContextManager[Client]]


def make_topic(name: str = "orders", **options: Any) -> Topic:
    return broker.create_topic(TopicConfig(name, **options))


def make_pull(name: str = "audit", topic: str = "orders", **options: Any) -> None:
    broker.create_subscription(SubscriptionConfig(name, topic, transport="pull", **options))


def publish(topic: str, *payloads: Any, **options: Any) -> None:
    """Publish, and append to the stream."""
    broker.publish_many(topic, [broker.Outgoing(payload, **options) for payload in payloads])
    pump_for("stream").drain()


@pytest.fixture
def pumping(transactional_db: None) -> Iterator[None]:
    """A pump of the streams at work."""
    done = threading.Event()

    def work() -> None:
        try:
            while not done.is_set():
                pump_for("stream").run(seconds=0.5)
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    done.set()
    thread.join(PATIENCE)


def payloads(items: list[dict[str, Any]]) -> list[Any]:
    return [item["payload"] for item in items]


def as_json(value: Any) -> str:
    return json.dumps(value)
