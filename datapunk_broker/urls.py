"""Mount the broker's doors: ``path("broker/", include("datapunk_broker.urls"))``."""

from typing import Any

from django.apps import apps
from django.urls import include, path

from datapunk_broker.api import APPS
from datapunk_broker.observability import views

app_name = "datapunk_broker"

urlpatterns: list[Any] = [
    path("", include("datapunk_broker.consumers.urls")),
    path("metrics", views.metrics, name="metrics"),
    path("health/live", views.live, name="health-live"),
    path("health/ready", views.ready, name="health-ready"),
]

if all(apps.is_installed(app) for app in APPS):
    urlpatterns.append(path("api/v1/", include("datapunk_broker.api.urls")))
