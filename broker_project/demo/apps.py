"""The demo as a Django app."""

from django.apps import AppConfig


class DemoConfig(AppConfig):
    """What people publish and subscribe in this project."""

    name = "broker_project.demo"
