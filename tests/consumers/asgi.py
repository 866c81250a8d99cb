"""What the tests' server serves: the WebSocket as it is, and again with less patience."""

import os
import threading

from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.consumers.site"

http = get_asgi_application()

from datapunk_broker.consumers.consumer import BrokerConsumer  # noqa: E402 - once the apps are loaded
from datapunk_broker.consumers.limits import Limits  # noqa: E402
from datapunk_broker.pump import pump_for  # noqa: E402
from datapunk_broker.routing import websocket_urlpatterns  # noqa: E402

IMPATIENT = Limits(
    hello_seconds=0.3,
    subscriptions=2,
    credit=50,
    frame_bytes=100_000,
    frames_per_second=10,
    frames_burst=40,
    ping_seconds=0.2,
    slow_seconds=1.0,
    reauthorise_seconds=0.2,
    watch_seconds=0.05,
)

impatient = path("ws/impatient/", BrokerConsumer.as_asgi(limits=IMPATIENT))

application = ProtocolTypeRouter({"http": http, "websocket": URLRouter([*websocket_urlpatterns, impatient])})


def pump() -> None:
    while True:
        pump_for("stream").run()


if settings.IS_ALONE:
    threading.Thread(target=pump, daemon=True).start()
