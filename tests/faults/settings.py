"""Django's settings for the processes of the drills."""

import os

from tests.settings import *  # noqa: F403 - the same project, with another app
from tests.settings import CELERY_BROKER_URL, DATABASES, INSTALLED_APPS, REDIS_URL

INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "tests.shop"] + ["tests.faults.shop"]

# The text of each statement goes over the wire, so that a drill can break something at a certain one.
DATABASES["default"]["OPTIONS"] |= {"prepare_threshold": None, "connect_timeout": 3}

CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_timeout": 5, "socket_connect_timeout": 3}

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": "faults"},
    },
}

DATAPUNK_BROKER = {"WEBHOOK_ALLOWED_NETWORKS": ["127.0.0.0/8"]}

EFFECTS = os.environ.get("FAULTS_EFFECTS", os.devnull)
"""The file to which handlers append a line for each of their effects."""

__all__ = ["CELERY_BROKER_URL"]
