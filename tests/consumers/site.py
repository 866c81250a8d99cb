"""The settings of the site that the tests' sockets connect to."""

import os

from tests.settings import *  # noqa: F403 - the same, and what browsers need

SECRET_KEY_FALLBACKS = ["an earlier one"]
ALLOWED_HOSTS = ["127.0.0.1"]
CSRF_TRUSTED_ORIGINS = ["https://*.trusted.example"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_SCHEME", "https")
ROOT_URLCONF = "tests.consumers.urls"

IS_ALONE = "SITE_IS_ALONE" in os.environ
"""Whether all of the broker is in the site's one process, as with ``runbroker``."""

if IS_ALONE:
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
