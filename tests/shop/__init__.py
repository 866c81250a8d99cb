"""A project's own app, as far as the tests need one: it has a Celery app, a table, and handlers."""

from tests.shop.celery import app as celery_app

__all__ = ["celery_app"]
