"""Connect to public addresses alone: to those that were looked at, so that a name cannot mean another meanwhile."""

import asyncio
import socket
from collections.abc import Iterable
from typing import Any

import httpcore

from datapunk_broker.conf import get_config
from datapunk_broker.exceptions import EndpointRefusedError
from datapunk_broker.transports.webhook.addresses import may_be_reached, read_address


class PublicNetwork(httpcore.AsyncNetworkBackend):
    """Connects where a webhook may go to every address that the name leads to."""

    def __init__(self) -> None:
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the base class gives the signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address that takes it."""
        failed: Exception = httpcore.ConnectError("the name has no address")
        for address in await _addresses(host, port, timeout):
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed


async def _addresses(host: str, port: int, seconds: float | None) -> list[str]:
    try:
        async with asyncio.timeout(seconds):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise httpcore.ConnectTimeout from error
    except OSError as error:
        raise httpcore.ConnectError(str(error)) from error
    addresses = dict.fromkeys(read_address(str(place[0])) for *_, place in found)
    allowed = get_config().webhook_allowed_networks
    for address in addresses:
        if not may_be_reached(address, allowed):
            raise EndpointRefusedError(host, f"leads to {address}, which is not public")
    return [str(address) for address in addresses]
