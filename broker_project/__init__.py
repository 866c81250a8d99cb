"""The demo: a Django project with a broker in it, and the example of how one gets there."""

from broker_project.celery import app as celery_app

__all__ = ("celery_app",)
