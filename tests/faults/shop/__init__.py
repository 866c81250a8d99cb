"""The app whose handlers are watched: each leaves a row and a line."""

from tests.faults.celery import app as celery_app

__all__ = ["celery_app"]
