"""Django's settings for the demo, from the environment: with nothing in it, all is embedded in one process."""

import os
from pathlib import Path

from kombu import Queue

from broker_project import environment
from datapunk_broker.api import openapi
from datapunk_broker.queues import QUEUES, beat_schedule

BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = environment.flag("DEBUG")
SECRET_KEY = environment.secret_key(BASE_DIR / ".secret_key", debug=DEBUG)
ALLOWED_HOSTS = environment.words("ALLOWED_HOSTS", "localhost 127.0.0.1 [::1]")
CSRF_TRUSTED_ORIGINS = environment.words("CSRF_TRUSTED_ORIGINS")

HTTPS = environment.flag("HTTPS")
if HTTPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_REDIRECT_EXEMPT = [r"^broker/health/"]  # those who probe the process itself speak plain HTTP
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True

DEMO_ADMIN_PASSWORD = environment.text("DEMO_ADMIN_PASSWORD")

REDIS_URL = environment.text("REDIS_URL")

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
    "broker_project.demo",
]

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "broker_project.policy.content_security_policy",
    "broker_project.static_files.StaticFiles",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

ROOT_URLCONF = "broker_project.urls"
ASGI_APPLICATION = "broker_project.asgi.application"
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "sign-in"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
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

DATABASES = {
    "default": environment.database(environment.text("DATABASE_URL", f"sqlite:///{BASE_DIR / 'broker.sqlite3'}")),
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"

STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True  # so that nothing has to be collected first

SPECTACULAR_SETTINGS = openapi.SETTINGS

if REDIS_URL:
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [REDIS_URL]},
        },
    }
else:
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

DATAPUNK_BROKER = environment.broker_settings(
    {
        "TOPICS": [
            {"name": "github", "type": "topic"},
            {"name": "repositories", "type": "headers"},
            {"name": "orders", "type": "direct"},
            {"name": "alerts", "type": "fanout"},
        ],
        # Those of handlers are declared with them, in demo/subscribers.py.
        "SUBSCRIPTIONS": [{"name": "audit", "topic": "github", "transport": "pull"}],
    }
)

CELERY_BROKER_URL = environment.text("CELERY_BROKER_URL", REDIS_URL or "memory://")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
if CELERY_BROKER_URL.startswith("memory:"):
    CELERY_BROKER_TRANSPORT_OPTIONS = {"polling_interval": 0.05}
elif CELERY_BROKER_URL.startswith("redis"):
    # Without them a Redis that hangs holds whoever rings for ever; a worker waits up to ten seconds for a task.
    CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_connect_timeout": 5, "socket_timeout": 15}
    # A pump runs for seconds: what a busy worker had fetched would wait behind it while another worker is free.
    CELERY_WORKER_DISABLE_PREFETCH = True

CELERY_TASK_QUEUES = [Queue(name, routing_key=name) for name in ("celery", *QUEUES)]
CELERY_TASK_IGNORE_RESULT = True
CELERY_BEAT_SCHEDULE = beat_schedule()
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"  # in memory: what is due is in the database, not in a file

CELERY_WORKER_CONCURRENCY = max(4, os.cpu_count() or 1)
CELERY_WORKER_PREFETCH_MULTIPLIER = 1  # as few as may be where a worker cannot do without
CELERY_WORKER_REDIRECT_STDOUTS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_DB_REUSE_MAX = 10_000  # else Celery closes the database connection before and after every task

LOGS = "datapunk_broker.observability.logs"
LOG_JSON = environment.flag("LOG_JSON")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
        "broker": {"()": f"{LOGS}.BrokerFormatter"},
        "json": {"()": f"{LOGS}.JsonFormatter"},
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "json" if LOG_JSON else "text"},
        "broker": {"class": "logging.StreamHandler", "formatter": "json" if LOG_JSON else "broker"},
    },
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        "datapunk_broker": {"handlers": ["broker"], "propagate": False},
        # Django has a handler of its own here, which would write each line again.
        "django": {"handlers": [], "level": "INFO"},
        # These write a line or two for every task, and there is a sweep each second.
        "celery": {"level": "WARNING"},
        "datapunk_broker.sweep": {"level": "WARNING"},
        # Whoever is refused is told so.
        "datapunk_broker.publish": {"level": "WARNING"},
        # It misses a hostname in memory://, where there is none.
        "kombu.connection": {"level": "ERROR"},
    },
}
