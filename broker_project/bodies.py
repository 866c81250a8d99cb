"""Refuse bodies that are too large as they come: Django keeps a body on disk before it asks who sent it."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

LARGEST = 17 * 1024 * 1024
"""Bytes; above what the API takes (16 MiB), so that its own answer says more to those who come near."""

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class _TooLargeError(Exception):
    """More came than is taken."""


class BoundedBodies:
    """An ASGI application whose requests have bodies of at most so many bytes, whatever they say of their length."""

    def __init__(self, app: App, largest: int = LARGEST) -> None:
        self.app, self.largest = app, largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or answer 413."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            self._check(_length_of(scope))
            await self.app(scope, self._bounded(receive), send)
        except _TooLargeError:
            await self._refuse(send)

    def _bounded(self, receive: Receive) -> Receive:
        seen = 0

        async def bounded() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            self._check(seen)
            return message

        return bounded

    def _check(self, length: int) -> None:
        if length > self.largest:
            raise _TooLargeError

    async def _refuse(self, send: Send) -> None:
        detail = f"A body may have {self.largest} bytes at most."
        problem = {"title": "Content Too Large", "status": 413, "code": "message_too_large", "detail": detail}
        body = json.dumps(problem).encode()
        about = {"content-type": "application/problem+json", "content-length": str(len(body)), "connection": "close"}
        headers = [(name.encode(), value.encode()) for name, value in about.items()]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _length_of(scope: Scope) -> int:
    said = dict(scope["headers"]).get(b"content-length", b"0")
    return int(said) if said.isdigit() else 0
