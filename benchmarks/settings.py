"""Django's settings for what is measured: those of the tests, with connections that are kept."""

from tests.settings import *  # noqa: F403 - the same project, with another app
from tests.settings import CELERY_BROKER_URL, DATABASES, INSTALLED_APPS

INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "tests.shop"] + ["benchmarks"]
DATABASES["default"]["CONN_MAX_AGE"] = None

__all__ = ["CELERY_BROKER_URL"]
