"""An endpoint for webhooks: it leaves the effects of what it is sent, and may be told to misbehave."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.faults.effects import leave

LONGEST = 10.0
"""Seconds after which one that hangs gives up."""


class Mood(StrEnum):
    """How it takes a request: as it should, with a 503, with its effect but no answer, or not at all."""

    WELL = "well"
    FAILS = "fails"
    CUTS = "cuts"
    HANGS = "hangs"


class Endpoint(ThreadingHTTPServer):
    """Serves every subscription, each at a path that is its name."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, effects: Path) -> None:
        super().__init__(("127.0.0.1", port), Answering)
        self.effects, self.mood = effects, Mood.WELL
        self.closing = threading.Event()


class Answering(BaseHTTPRequestHandler):
    """Answers one request after the other."""

    protocol_version = "HTTP/1.1"
    server: Endpoint

    def do_POST(self) -> None:
        mood, length = self.server.mood, int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            return  # whoever asked was killed meanwhile
        if mood in (Mood.WELL, Mood.CUTS):
            leave(self.server.effects, self.path.removeprefix("/"), json.loads(body)["number"])
        if mood is Mood.HANGS:
            self.server.closing.wait(LONGEST)
        if mood in (Mood.CUTS, Mood.HANGS):
            self.close_connection = True
            return
        self.send_response(HTTPStatus.NO_CONTENT if mood is Mood.WELL else HTTPStatus.SERVICE_UNAVAILABLE)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True  # whoever asked was killed, or did not wait

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(port: int, effects: Path) -> Iterator[Endpoint]:
    """Serve meanwhile."""
    with Endpoint(port, effects) as endpoint:
        thread = threading.Thread(target=endpoint.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield endpoint
        finally:
            endpoint.closing.set()
            endpoint.shutdown()
            thread.join()
