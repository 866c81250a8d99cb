"""What an ASGI server serves: ``uvicorn broker_project.asgi:application``."""

import os
import warnings

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "broker_project.settings")

# The static files are small, and WhiteNoise has none but synchronous iterators of them.
warnings.filterwarnings("ignore", "StreamingHttpResponse must consume synchronous iterators")

http = get_asgi_application()

from broker_project.bodies import BoundedBodies  # noqa: E402 - once the apps are loaded
from datapunk_broker.routing import websocket_urlpatterns  # noqa: E402 - once the apps are loaded

application = ProtocolTypeRouter({"http": BoundedBodies(http), "websocket": URLRouter(websocket_urlpatterns)})
