"""Run the whole broker in one process: the web server, a Celery worker and its beat."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from celery import Celery, current_app
from celery.beat import Service
from celery.worker import state as worker_state
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.management.base import CommandError, CommandParser
from django.utils.module_loading import import_string
from kombu.exceptions import OperationalError

from datapunk_broker.management.speaking import BrokerCommand
from datapunk_broker.pump import stopping
from datapunk_broker.queues import MAINTENANCE

try:
    import uvicorn
except ImportError:
    HAS_UVICORN = False
else:
    HAS_UVICORN = True

CLOSING = 5
"""Seconds that open requests and sockets have to end."""

EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


class Command(BrokerCommand):
    """With the broker ``memory://`` and SQLite, nothing else has to run."""

    help = "Serve the project, deliver its messages and keep its schedule, all in one process."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="Where to listen (127.0.0.1).")
        parser.add_argument("--port", type=_port, default=8000, help="At which port (8000); 0 for any that is free.")
        parser.add_argument("--concurrency", type=_positive, help="Handler threads (the project's setting).")

    def handle(self, *, host: str, port: int, concurrency: int | None, **_: Any) -> None:
        if not HAS_UVICORN:
            raise CommandError("runbroker needs uvicorn: pip install 'datapunk-broker[server]'")
        app = celery_app()
        with listen(host, port) as listener:
            web = web_server(host)
            for end in (signal.SIGINT, signal.SIGTERM):
                signal.signal(end, lambda *_: setattr(web, "should_exit", True))
            parts = Parts(app, concurrency or default_concurrency(app), web)
            parts.start()
            self.serving(address(host, listener.getsockname()[1]))
            web.run(sockets=[listener])
        # Whoever asks a second time does not want to wait: what is claimed comes again when its lease is over.
        for end in (signal.SIGINT, signal.SIGTERM):
            signal.signal(end, signal.SIG_DFL)
        parts.stop()
        if parts.broken:
            raise CommandError(f"The {parts.broken} ended by itself; the log says why.")
        self.stdout.write("Stopped.")

    def serving(self, url: str) -> None:
        """Say where; called once connections are taken."""
        self.stdout.write(f"Serving on {url} (Ctrl-C stops it).")
        self.stdout.flush()


class Parts:
    """What runs beside the web server: a worker and its beat, each in a thread. broken: the one that failed."""

    def __init__(self, app: Celery, concurrency: int, web: "uvicorn.Server") -> None:
        self.broken = ""
        self._app, self._web = app, web
        name = f"runbroker-{os.getpid()}@{socket.gethostname()}"
        alone: dict[str, Any] = {"without_gossip": True, "without_mingle": True, "quiet": True}
        alone["loglevel"] = logging.getLogger().level  # else Celery sets the root's to WARNING
        worker = app.Worker(hostname=name, pool_cls="threads", concurrency=concurrency, **alone)
        self._beat = Service(app, scheduler_cls=app.conf.beat_scheduler)
        self._threads = {
            part: self._thread(part, run) for part, run in (("worker", worker.start), ("beat", self._beat.start))
        }

    def start(self) -> None:
        for thread in self._threads.values():
            thread.start()

    def stop(self) -> None:
        """Let the pumps end after their batch, and with them the worker and the beat."""
        stopping.set()
        self._beat.stop()
        worker_state.should_stop = os.EX_OK  # type: ignore[assignment]
        with suppress(OperationalError):
            # The worker looks whether to stop when it got a task, or none for two seconds, and then waits for another.
            for _ in range(2):
                self._app.send_task("datapunk_broker.sweep", queue=MAINTENANCE, ignore_result=True, retry=False)
        for thread in self._threads.values():
            thread.join()

    def _thread(self, part: str, run: Callable[[], object]) -> threading.Thread:
        def work() -> None:
            try:
                run()
            finally:
                if not stopping.is_set():
                    self.broken = part
                    self._web.should_exit = True

        return threading.Thread(target=work, name=f"runbroker-{part}", daemon=True)


def celery_app() -> Celery:
    """Return the project's Celery app."""
    app: Celery = current_app._get_current_object()  # type: ignore[attr-defined] # noqa: SLF001 - celery's proxies
    if app.main in (None, "default"):
        raise CommandError("The project has no Celery app: make one in its celery.py, and import it in __init__.py.")
    return app


def default_concurrency(app: Celery) -> int:
    """Return how many handler threads the project asks for."""
    asked = app.conf.worker_concurrency
    return asked if isinstance(asked, int) and asked > 0 else max(4, os.cpu_count() or 1)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; raises CommandError where it cannot."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise CommandError(f"Cannot listen on {host}, port {port}: {error.strerror or error}.") from error


def web_server(host: str) -> "uvicorn.Server":
    """Return a server of the project's ASGI application, loaded."""
    path = getattr(settings, "ASGI_APPLICATION", None)
    config = uvicorn.Config(
        import_string(path) if path else get_asgi_application(),
        host=host,
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=CLOSING,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
    )
    config.load()
    return uvicorn.Server(config)


def address(host: str, port: int) -> str:
    """Return what to type into a browser on this machine."""
    host = "127.0.0.1" if host in EVERYWHERE else host
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 2**16:
        raise ValueError
    return port


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number
