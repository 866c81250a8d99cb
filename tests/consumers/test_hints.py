"""What processes tell each other: soon, seldom, and never at the cost of whoever publishes."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from channels.layers import get_channel_layer

from datapunk_broker.consumers.hearing import Hearing
from datapunk_broker.consumers.hints import HINT, HINT_EVERY, Herald, group_of, origin
from tests.consumers.client import PATIENCE

MEMORY = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
NOWHERE = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": ["redis://127.0.0.1:1"]},
    }
}


@pytest.fixture
def herald() -> Iterator[Herald]:
    herald = Herald()
    yield herald
    herald.close()


class Ear:
    """Hears what is told of a topic."""

    def __init__(self, layer: Any, channel: str) -> None:
        self.layer, self.channel = layer, channel

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            message: dict[str, Any] = await self.layer.receive(self.channel)
        return message


@asynccontextmanager
async def hearing(topic: str) -> AsyncIterator[Ear]:
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add(group_of(topic), channel)
    yield Ear(layer, channel)
    await layer.group_discard(group_of(topic), channel)
    await layer.flush()


async def test_many_appends_at_once_are_few_hints_and_the_last_says_where_the_stream_ends(herald: Herald) -> None:
    async with hearing("orders") as ear:
        for head in range(1, 1001):
            herald.grew("orders", head)
        herald.grew("orders", 5)
        hints = [await ear.hear()]
        while hints[-1]["head"] < 1000:
            hints.append(await ear.hear())
        await asyncio.sleep(5 * HINT_EVERY)
        herald.has_work("orders")
        last = await ear.hear()

    assert len(hints) < 100
    assert (last["pull"], "head" in last) == (True, False)
    assert {hint["origin"] for hint in (*hints, last)} == {origin()}


async def test_messages_that_are_stored_nowhere_come_each_and_in_order(herald: Herald) -> None:
    async with hearing("ticks") as ear:
        herald.live("ticks", [{"id": str(n)} for n in range(50)])
        assert [(await ear.hear())["message"]["id"] for _ in range(50)] == [str(n) for n in range(50)]


def test_a_channel_layer_that_is_away_costs_nothing_and_is_complained_of_once(
    herald: Herald, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CHANNEL_LAYERS = NOWHERE
    waiting = threading.Event()
    for head in range(1, 6):
        herald.grew("orders", head)
        for _ in range(200):
            if caplog.records:
                break
            waiting.wait(0.05)
        waiting.wait(2 * HINT_EVERY)

    complaints = [record for record in caplog.records if record.name == "datapunk_broker.hints"]
    assert [record.levelname for record in complaints] == ["WARNING"]


def test_a_layer_within_the_process_is_told_nothing(herald: Herald, settings: Any) -> None:
    settings.CHANNEL_LAYERS = MEMORY
    before = threading.active_count()

    herald.grew("orders", 1)
    herald.live("orders", [{}])

    assert threading.active_count() == before


FORKED = """
import os, sys
import django
django.setup()
from datapunk_broker.consumers.hints import herald, origin
herald.grew("orders", 1)
mine = origin()
child = os.fork()
if not child:
    herald.grew("orders", 2)
    herald.close()
    os._exit(0 if origin() != mine else 1)
herald.close()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


async def test_a_forked_worker_tells_by_itself() -> None:
    async with hearing("orders") as ear:
        command = [sys.executable, "-W", "ignore", "-c", FORKED]
        env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
        forked = await asyncio.create_subprocess_exec(*command, env=env, stderr=subprocess.PIPE)
        _, told = await forked.communicate()
        assert forked.returncode == 0, told.decode()
        assert {(await ear.hear())["head"], (await ear.hear())["head"]} == {1, 2}


class Listening:
    """Hears how far streams grew."""

    def __init__(self) -> None:
        self.heads: asyncio.Queue[int] = asyncio.Queue()

    def grew(self, topic: str, head: int) -> None:
        assert topic == "orders"
        self.heads.put_nowait(head)

    def has_work(self, topic: str) -> None: ...

    def came(self, topic: str, message: Mapping[str, Any]) -> None: ...

    def missed(self) -> None: ...


async def test_a_layer_that_forgets_whom_it_tells_is_joined_again(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgetful = {**settings.CHANNEL_LAYERS["default"]["CONFIG"], "group_expiry": 1}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": forgetful}}
    monkeypatch.setattr("datapunk_broker.consumers.hearing.REJOIN_EVERY", 0.2)
    layer, listening = get_channel_layer(), Listening()
    hearing = Hearing(listening)
    hearing.add("orders")
    await asyncio.sleep(2)

    hint = {"type": HINT, "topic": "orders", "head": 7, "origin": "another process"}
    await layer.group_send(group_of("orders"), hint)

    async with asyncio.timeout(PATIENCE):
        assert await listening.heads.get() == 7
    hearing.remove("orders")
    await asyncio.sleep(0.3)
    await layer.close_pools()
