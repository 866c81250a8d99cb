"""What the stand's web server serves."""

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

http = get_asgi_application()

from datapunk_broker.routing import websocket_urlpatterns  # noqa: E402 - once the apps are loaded

application = ProtocolTypeRouter({"http": http, "websocket": URLRouter(websocket_urlpatterns)})
