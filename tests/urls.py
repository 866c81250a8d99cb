"""What the tests' web requests can reach."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("broker/", include("datapunk_broker.urls")),
]
