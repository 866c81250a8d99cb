"""Where the event streams are: included under the broker's own URLs."""

from django.urls import path

from datapunk_broker.consumers.sse import stream

urlpatterns = [path("stream/<str:topic>/", stream, name="stream")]
