"""Where the event streams are: included under the broker's own URLs."""

from django.db import connections
from django.db.transaction import non_atomic_requests
from django.urls import path

from datapunk_broker.consumers.sse import stream

for alias in connections:
    non_atomic_requests(alias)(stream)  # it must not last for hours in a transaction

urlpatterns = [path("stream/<str:topic>/", stream, name="stream")]
