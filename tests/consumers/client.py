"""A client of the WebSocket: it says and hears frames."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from datapunk_broker.frames import SUBPROTOCOL

PATIENCE = 20.0

Frame = dict[str, Any]


class Client:
    """One socket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def say(self, kind: str, **members: Any) -> None:
        self.socket.send(json.dumps({"type": kind, **members}))

    def hear(self, *types: str, patience: float = PATIENCE) -> Frame:
        """Return the next frame; it is of one of these types."""
        frame: Frame = json.loads(self.socket.recv(timeout=patience))
        assert not types or frame["type"] in types, frame
        return frame

    def hear_until(self, wanted: Callable[[Frame], bool]) -> list[Frame]:
        heard = [self.hear()]
        while not wanted(heard[-1]):
            heard.append(self.hear())
        return heard

    def items(self, count: int) -> list[Frame]:
        """Return so many messages, passing over every other frame."""
        found: list[Frame] = []
        while len(found) < count:
            frame = self.hear()
            assert frame["type"] in ("messages", "caught_up"), frame
            found += frame.get("items", [])
        assert len(found) == count, found
        return found

    def silence(self, seconds: float = 0.3) -> None:
        """Check that nothing comes."""
        try:
            frame = self.socket.recv(timeout=seconds)
        except TimeoutError:
            return
        raise AssertionError(frame)

    def hello(self, token: str) -> Frame:
        self.say("hello", token=token)
        return self.hear("welcome")

    def subscribe(self, topic: str, sid: Any = "s", *, credit: int = 1000, **more: Any) -> Frame:
        """Subscribe; nothing else comes before that is confirmed, save that other subscriptions caught up."""
        self.say("subscribe", sid=sid, topic=topic, credit=credit, **more)
        while (frame := self.hear("subscribed", "caught_up"))["type"] != "subscribed":
            pass
        return frame

    def pull(self, subscription: str, sid: Any = "s", *, credit: int = 1000) -> Frame:
        self.say("subscribe", sid=sid, subscription=subscription, credit=credit)
        return self.hear("subscribed")

    def closed(self) -> int:
        """Wait for the server to close, and return the code."""
        try:
            while True:
                self.socket.recv(timeout=PATIENCE)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006


@contextmanager
def connected(url: str, token: str | None = None, **options: Any) -> Iterator[Client]:
    """Connect, and say hello where there is a token."""
    options = {"subprotocols": [SUBPROTOCOL], "compression": None, "max_size": None, **options}
    with connect(url, **options) as socket:
        client = Client(socket)
        if token is not None:
            client.hello(token)
        yield client
