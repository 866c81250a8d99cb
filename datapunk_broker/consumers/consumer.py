"""The Channels consumer of the broker's WebSocket."""

from typing import Any

from channels.consumer import AsyncConsumer

from datapunk_broker.consumers.connection import Connection
from datapunk_broker.consumers.drain import hold_back_the_end
from datapunk_broker.consumers.hub import the_hub
from datapunk_broker.consumers.limits import Limits


class BrokerConsumer(AsyncConsumer):
    """Serves ``/ws/broker/``; ``limits`` may be given to ``as_asgi``.

    It does without Channels' dispatch, which hops to a thread at every frame, and without a channel a socket: what
    other processes tell comes to the hub, once a process.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        hub = the_hub()
        hold_back_the_end(hub)
        await Connection(scope, receive, send, self.limits, hub).run()
