"""Where the broker's WebSocket is: ``URLRouter(websocket_urlpatterns)`` in the project's ``asgi.py``."""

from typing import Any

from django.urls import path

from datapunk_broker.consumers.consumer import BrokerConsumer

_consumer: Any = BrokerConsumer.as_asgi()

websocket_urlpatterns: list[Any] = [path("ws/broker/", _consumer)]
