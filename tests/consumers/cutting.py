"""A network that breaks: what is connected through it is cut off again and again, without a goodbye."""

import asyncio
import random
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

LEAST, MOST = 2_000, 12_000
"""Bytes from the server after which a connection is cut."""


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int | None = None) -> None:
    passed = 0
    while (limit is None or passed < limit) and (data := await reader.read(1024)):
        passed += len(data)
        writer.write(data)
        await writer.drain()


async def _serve(port: int, told: Future[tuple[int, asyncio.Event]]) -> None:
    draw, done = random.Random(5), asyncio.Event()
    open_ones: set[asyncio.Task[None]] = set()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", port)
        ways = {
            asyncio.ensure_future(_pass_on(reader, ours)),
            asyncio.ensure_future(_pass_on(theirs, writer, draw.randint(LEAST, MOST))),
        }
        await asyncio.wait({*ways, ended}, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for transport in (writer.transport, ours.transport):
            transport.abort()
        await asyncio.gather(writer.wait_closed(), ours.wait_closed(), return_exceptions=True)

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(connect(reader, writer))
        open_ones.add(task)
        task.add_done_callback(open_ones.discard)

    ended = asyncio.ensure_future(done.wait())
    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    told.set_result((server.sockets[0].getsockname()[1], done))
    await ended
    server.close()
    await asyncio.gather(*open_ones)


@contextmanager
def cutting(port: int) -> Iterator[int]:
    """Serve a port of one's own that leads to this one."""
    told: Future[tuple[int, asyncio.Event]] = Future()
    with ThreadPoolExecutor(1) as thread, asyncio.Runner() as runner:
        serving = thread.submit(runner.run, _serve(port, told))
        own, done = told.result()
        try:
            yield own
        finally:
            runner.get_loop().call_soon_threadsafe(done.set)
            serving.result()
