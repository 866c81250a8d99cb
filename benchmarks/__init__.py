"""How fast the broker is, beside what PostgreSQL can do and what a Django project would do without it, in one run."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")

from benchmarks.celery import app as celery_app

__all__ = ["celery_app"]
