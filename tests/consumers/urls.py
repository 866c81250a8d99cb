"""The HTTP side of the tests' site."""

from django.urls import include, path

urlpatterns = [path("broker/", include("datapunk_broker.urls"))]
