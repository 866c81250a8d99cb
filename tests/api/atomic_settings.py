"""The demo project with two databases, where every request is a transaction on each."""

from typing import Any

from broker_project.settings import *  # noqa: F403
from broker_project.settings import DATABASES as THEIRS

OTHER: dict[str, Any] = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
DATABASES = {
    "default": {**THEIRS["default"], "ATOMIC_REQUESTS": True},
    "other": {**OTHER, "ATOMIC_REQUESTS": True},
}
