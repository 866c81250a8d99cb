"""Read what the environment says of the project; what cannot be meant is an ImproperlyConfigured.

A variable that is empty says nothing: Compose files set those that are not given so.
"""

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

PREFIX = "DATAPUNK_BROKER_"

FLAGS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "sqlite3": {
        # Readers beside one writer, who takes its turn when it begins, not when it is too late to wait.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
    },
    "postgresql": {
        # Together they make publishing 1.6 times as fast.
        "server_side_binding": True,
        "prepare_threshold": 5,
        # For each process; a handler thread holds one all along, a request as long as it lasts.
        "pool": {"min_size": 1, "max_size": 32, "timeout": 10},
    },
}
"""What the broker wants of each kind of database; the URL's own options win."""


def text(name: str, default: str = "") -> str:
    """Return a variable, or the default where it says nothing."""
    return os.environ.get(name, "").strip() or default


def flag(name: str, *, default: bool = False) -> bool:
    """Return a variable that says yes or no."""
    said = text(name).lower()
    if not said:
        return default
    if said not in FLAGS:
        raise ImproperlyConfigured(f"{name} is {said!r}; write 1 or 0.")
    return FLAGS[said]


def words(name: str, default: str = "") -> list[str]:
    """Return a variable that lists words, with commas or spaces between them."""
    return text(name, default).replace(",", " ").split()


def database(url: str) -> dict[str, Any]:
    """Return Django's settings of a database by its URL, as the broker wants it."""
    try:
        settings: dict[str, Any] = {**dj_database_url.parse(url)}
    except ValueError:
        # The reason would show the password.
        example = "postgresql://user:password@host:5432/name"
        raise ImproperlyConfigured(f"DATABASE_URL is not the URL of a database, such as {example}") from None
    vendor = settings["ENGINE"].rpartition(".")[2]
    defaults = OPTIONS.get(vendor, {})
    return {**settings, "CONN_HEALTH_CHECKS": True, "OPTIONS": {**defaults, **settings.get("OPTIONS", {})}}


def broker_settings(defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the broker's settings: ``DATAPUNK_BROKER_<KEY>`` takes the place of a default.

    A value is JSON, or a plain string when it is not.
    """
    given = {name.removeprefix(PREFIX): text(name) for name in os.environ if name.startswith(PREFIX) and text(name)}
    return {**defaults, **{key: _json_or_text(value) for key, value in given.items()}}


def secret_key(file: Path, *, debug: bool) -> str:
    """Return SECRET_KEY, or for local use (DEBUG, or nothing said of a database) one that is kept in a file."""
    if key := text("SECRET_KEY"):
        return key
    is_local = not text("DATABASE_URL") and not text("DEBUG")
    if not debug and not is_local:
        raise ImproperlyConfigured(
            "SECRET_KEY is not set. Without DEBUG=1 the project needs one of its own; make it with: "
            'python -c "import secrets; print(secrets.token_urlsafe(50))"'
        )
    return _kept(file)


def _kept(file: Path) -> str:
    try:
        if not (file.exists() and _key_in(file)):
            _keep(file, secrets.token_urlsafe(50))
        return _key_in(file)
    except OSError as error:
        raise ImproperlyConfigured(f"SECRET_KEY is not set, and none can be kept in {file}: {error}") from error


def _keep(file: Path, key: str) -> None:
    """Make the file with the key in it: nobody ever reads a part, and of two who begin at once one makes it."""
    with TemporaryDirectory(dir=file.parent, prefix=file.name) as folder:
        new = Path(folder, "key")
        new.touch(mode=0o600)
        new.write_text(key)
        try:
            file.hardlink_to(new)
        except FileExistsError:
            if not _key_in(file):
                new.replace(file)


def _key_in(file: Path) -> str:
    return file.read_text().strip()


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
