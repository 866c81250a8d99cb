"""A network between a client and its server that can be broken: at once, in a statement, or around a certain one."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

CHUNK = 65_536


@dataclass(slots=True)
class Tripwire:
    """Do something once, when a client says this: before the server hears it, or when the server has answered."""

    said: bytes
    action: Callable[[], object]
    answered: bool
    tripped: threading.Event = field(default_factory=threading.Event)


class Proxy:
    """Serves a port of its own that leads to another's."""

    def __init__(self, port: int) -> None:
        self.server_port = port
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._wires: list[Tripwire] = []
        self._tear = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        started = threading.Event()
        self._loop.call_soon(lambda: self._loop.create_task(self._serve(started)))
        self._thread.start()
        started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def cut(self) -> None:
        """Hang up on everybody, without a goodbye."""
        self._loop.call_soon_threadsafe(self._hang_up)

    def tear(self) -> None:
        """Let half of what is said next through, and hang up on everybody."""
        self._tear = True

    def trip(self, said: bytes, action: Callable[[], object], *, answered: bool) -> Tripwire:
        """Do something around the next statement that has this text."""
        wire = Tripwire(said, action, answered)
        self._wires.append(wire)
        return wire

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _serve(self, started: threading.Event) -> None:
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0, limit=CHUNK)
        self.port = server.sockets[0].getsockname()[1]
        started.set()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            theirs, ours = await asyncio.open_connection("127.0.0.1", self.server_port)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, ours}
        self._writers |= both
        waits: list[Tripwire] = []
        ways = [
            asyncio.ensure_future(self._up(reader, ours, waits)),
            asyncio.ensure_future(self._down(theirs, writer, waits)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        self._writers -= both
        for one in both:
            one.transport.abort()

    async def _up(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, waits: list[Tripwire]) -> None:
        while data := await reader.read(CHUNK):
            wire = next((wire for wire in self._wires if wire.said in data), None)
            if wire is not None:
                self._wires.remove(wire)
                if not wire.answered:
                    self._fire(wire)
                    return
                waits.append(wire)
            if self._tear:
                self._tear = False
                server.write(data[: len(data) // 2])
                await server.drain()
                self._hang_up()
                return
            server.write(data)
            await server.drain()

    async def _down(self, server: asyncio.StreamReader, client: asyncio.StreamWriter, waits: list[Tripwire]) -> None:
        while data := await server.read(CHUNK):
            if waits:
                self._fire(waits.pop())
                return
            client.write(data)
            await client.drain()

    @staticmethod
    def _fire(wire: Tripwire) -> None:
        wire.action()
        wire.tripped.set()

    def _hang_up(self) -> None:
        for writer in [*self._writers]:
            writer.transport.abort()
