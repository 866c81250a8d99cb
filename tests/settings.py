"""Django's settings for the tests, on the servers that the environment names."""

import os
from typing import Any

import dj_database_url

from datapunk_broker.api import openapi

SECRET_KEY = "protects nothing"
USE_TZ = True
ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # quick, and guards nothing here

REDIS_URL = os.environ["REDIS_URL"]
CELERY_BROKER_URL = REDIS_URL

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "channels",
    "django_prometheus",
    "rest_framework",
    "rest_framework.authtoken",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "datapunk_broker",
    "tests.shop",
]

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

SPECTACULAR_SETTINGS = openapi.SETTINGS

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        # Redis' channels are shared by all of its databases, so each worker has a prefix of its own.
        "CONFIG": {"hosts": [REDIS_URL], "prefix": os.environ.get("PYTEST_XDIST_WORKER", "main")},
    },
}


def database(url: str) -> dict[str, Any]:
    settings: dict[str, Any] = {**dj_database_url.parse(url)}
    if settings["ENGINE"] == "django.db.backends.sqlite3":
        settings["TEST"] = {"NAME": settings["NAME"]}  # a file: threads cannot share a database in memory
        settings["OPTIONS"] = {
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
        }
    else:
        settings["OPTIONS"] = {"prepare_threshold": 5, "server_side_binding": True}
    return settings


# Connections last as long as the thread or request that opened them (CONN_MAX_AGE stays 0): one that
# a test's thread left open would keep the test database from being dropped.
DATABASES = {"default": database(os.environ["DATABASE_URL"])}
