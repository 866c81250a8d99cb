"""Make the requests: one client a process, whose connections are kept in an event loop of their own."""

import asyncio
import atexit
import os
import threading
from typing import Any

import httpcore
from django.utils import timezone

from datapunk_broker.envelope import Received
from datapunk_broker.transports.base import Endpoint
from datapunk_broker.transports.webhook.answer import failure
from datapunk_broker.transports.webhook.network import PublicNetwork
from datapunk_broker.transports.webhook.request import headers_of

CONNECT_WITHIN = 5.0
"""Seconds to look a name up, and to connect to each of its addresses."""

IDLE, KEEP_FOR = 100, 30.0
"""Connections that wait for the next request, and the seconds that they do."""

LARGEST_ANSWER, ANSWER_WITHIN = 16 * 1024, 1.0
"""Bytes that are read of an answer's body, and seconds for it; one that is longer costs its connection only."""

CLOSE_WITHIN = 1.0


class Client:
    """The connections of this process, and the thread of their event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpcore.default_ssl_context(),
            max_connections=None,  # each errand bounds its own, so that one endpoint that hangs takes no other's
            max_keepalive_connections=IDLE,
            keepalive_expiry=KEEP_FOR,
            network_backend=PublicNetwork(),
        )
        self._thread = threading.Thread(target=self._loop.run_forever, name="datapunk-webhooks", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    async def post(self, endpoint: Endpoint, message: Received[Any], seconds: float) -> None:
        """Take a message to an endpoint, from whatever event loop; raises why it was not taken."""
        request = self._post(endpoint, message, seconds)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(request, self._loop))

    def close(self) -> None:
        """Close the connections and end the thread; in a forked child there is neither."""
        atexit.unregister(self.close)
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._pool.aclose(), self._loop).result(CLOSE_WITHIN)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CLOSE_WITHIN)
            self._loop.close()

    async def _post(self, endpoint: Endpoint, message: Received[Any], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._exchange(endpoint, message)
        except httpcore.TimeoutException as error:
            problem = f"The endpoint took no connection within {CONNECT_WITHIN:g} s."
            raise TimeoutError(problem) from error
        except TimeoutError as error:
            problem = f"The endpoint did not answer within {seconds:g} s."
            raise TimeoutError(problem) from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            problem = f"The endpoint could not be reached: {str(error) or type(error).__name__}"
            raise ConnectionError(problem) from error

    async def _exchange(self, endpoint: Endpoint, message: Received[Any]) -> None:
        now = timezone.now()
        headers = headers_of(message, endpoint, int(now.timestamp()))
        connecting = {"timeout": {"connect": CONNECT_WITHIN}}
        request = self._pool.stream("POST", endpoint.url, headers=headers, content=message.body, extensions=connecting)
        async with request as response:
            said = await _beginning(response)
            if failed := failure(response.status, response.headers, said, timezone.now()):
                raise failed


async def _beginning(response: httpcore.Response) -> bytes:
    """Return the beginning of an answer's body; its status holds, however the body ends."""
    said = bytearray()
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            async for part in response.aiter_stream():
                said += part
                if len(said) >= LARGEST_ANSWER:
                    break
    except (TimeoutError, httpcore.NetworkError, httpcore.ProtocolError):
        return bytes(said)
    return bytes(said)


_clients: dict[int, Client] = {}
"""By process: a forked child leaves its parent's alone."""


def client() -> Client:
    """Return this process's client."""
    me = os.getpid()
    if me not in _clients:
        made = Client()
        if _clients.setdefault(me, made) is not made:
            made.close()
    return _clients[me]


def close() -> None:
    """Close this process's client; the next message makes another."""
    if kept := _clients.pop(os.getpid(), None):
        kept.close()
