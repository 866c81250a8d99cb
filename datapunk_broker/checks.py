"""Misconfiguration, as system checks under the tag ``datapunk_broker``; none of them asks the database.

====  =====================================================================================================
E001  a key of ``DATAPUNK_BROKER`` is no setting
E002  a setting, or a declaration in TOPICS or SUBSCRIPTIONS, is not valid or contradicts another one, such as
      a lease shorter than the timeout it must cover, or one name declared twice
E003  a subscription declared with its handler is not valid or contradicts its topic or the settings, likewise
E004  a subscription is declared both with its handler and in SUBSCRIPTIONS
E005  the handler that a subscription in SUBSCRIPTIONS names cannot be imported
E006  DATABASE is the alias of no database
E007  the broker's database is neither PostgreSQL nor SQLite
E008  ``django.contrib.auth`` is not installed
E009  a webhook in SUBSCRIPTIONS has a URL or a secret that is refused, or what makes its requests is not installed
W001  PostgreSQL has no ``server_side_binding`` or no ``prepare_threshold``
W002  SQLite has no write-ahead log, no immediate transactions or no timeout
W003  the project has no Celery app, or none that is made when Django starts
W004  the Celery app's workers take the broker's queues only if each is told to with ``--queues``
W005  some apps of the REST API are installed and not all, so it is not mounted
====  =====================================================================================================

Their ids begin with ``datapunk_broker.``, as in ``SILENCED_SYSTEM_CHECKS = ["datapunk_broker.W001"]``.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.db import connections

from datapunk_broker.api import APPS
from datapunk_broker.conf import KEYS, SETTING, BrokerConfig, check_subscription, get_config, problems
from datapunk_broker.exceptions import BrokerError, ConfigInvalidError
from datapunk_broker.queues import QUEUES
from datapunk_broker.registry import registry
from datapunk_broker.states import Transport
from datapunk_broker.tasks import pump
from datapunk_broker.transports.webhook import check_endpoint

TAG = "datapunk_broker"

VENDORS = {"mysql": "MySQL and MariaDB have", "oracle": "Oracle has"}
"""How to speak of databases that Django supports and the broker does not."""

WAL = re.compile(r"journal_mode\s*=\s*['\"]?wal\b", re.IGNORECASE)

POSTGRESQL_HINT = (
    'Set OPTIONS to {"server_side_binding": True, "prepare_threshold": 5}, with psycopg 3: publishing is 1.6 times '
    "as fast. Behind a pooler that cannot keep prepared statements, silence this check instead."
)
SQLITE_HINT = (
    'Set OPTIONS to {"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL", '
    '"transaction_mode": "IMMEDIATE", "timeout": 20}: without them writers meet "database is locked".'
)
CELERY_HINT = (
    "Make one in a celery.py beside settings.py, and import it in the __init__.py there, so that whoever publishes "
    "has it too."
)
QUEUES_HINT = (
    'Set CELERY_TASK_QUEUES = [Queue(name, routing_key=name) for name in ("celery", *QUEUES)], and in celery.py '
    'app.config_from_object("django.conf:settings", namespace="CELERY"). Where each worker is told its --queues, '
    "silence this check instead."
)


def register() -> None:
    """Register the checks."""
    of_the_broker = (check_settings, check_declared, check_handlers, check_webhooks, check_api)
    for check in (*of_the_broker, check_database, check_auth, check_celery):
        checks.register(check, TAG)


def check_settings(**_: object) -> list[checks.CheckMessage]:
    """Report every key and value of the settings that is wrong (E001, E002)."""
    found: list[checks.CheckMessage] = []
    for problem in problems(getattr(settings, SETTING, {})):
        is_known = problem.key == SETTING or re.split(r"[.\[]", problem.key)[0] in KEYS
        where = SETTING if problem.key == SETTING else f"{SETTING}[{problem.key!r}]"
        found.append(_error("E002" if is_known else "E001", f"{where} {problem.problem}", problem.hint))
    return found


def check_declared(**_: object) -> list[checks.CheckMessage]:
    """Report what is wrong with the subscriptions that are declared with their handlers (E003, E004)."""
    config = _config()
    if config is None:
        return []
    topics = {topic.name: topic for topic in config.topics}
    in_settings = {subscription.name for subscription in config.subscriptions}
    found: list[checks.CheckMessage] = []
    for subscription in registry.declared():
        where = f"The subscription {subscription.name!r} of {subscription.handler or 'a local handler'}"
        try:
            check_subscription(subscription, config, topics.get(subscription.topic))
        except BrokerError as error:
            found.append(_error("E003", f"{where}: {error}"))
        if subscription.name in in_settings:
            found.append(_error("E004", f"{where} is declared in SUBSCRIPTIONS too.", "Remove one of the two."))
    return found


def check_handlers(**_: object) -> list[checks.CheckMessage]:
    """Report handlers that the settings name and that no worker could import (E005)."""
    config = _config()
    found: list[checks.CheckMessage] = []
    for subscription in config.subscriptions if config else ():
        path = subscription.handler
        if path and (why := registry.why_missing(subscription.name, path, mode=subscription.mode)):
            found.append(_error("E005", f"The subscription {subscription.name!r} has no handler: {why}"))
    return found


def check_api(**_: object) -> list[checks.CheckMessage]:
    """Report a REST API that lacks some of its apps (W005); without REST framework none is wanted."""
    lacking = [app for app in APPS if not apps.is_installed(app)]
    if not lacking or not apps.is_installed(APPS[0]):
        return []
    hint = "Add them to INSTALLED_APPS; pip install 'datapunk-broker[api]' has them. Or silence this check."
    return [_warning("W005", f"The REST API is not mounted: {', '.join(lacking)} are not installed.", hint)]


def check_webhooks(**_: object) -> list[checks.CheckMessage]:
    """Report webhooks in the settings that could not be delivered (E009)."""
    config = _config()
    found: list[checks.CheckMessage] = []
    for subscription in config.subscriptions if config else ():
        if config and subscription.transport is Transport.WEBHOOK and subscription.endpoint_url:
            try:
                check_endpoint(subscription.endpoint_url, subscription.secret, config.webhook_allowed_networks)
            except BrokerError as error:
                found.append(_error("E009", f"The subscription {subscription.name!r}: {error}"))
    return found


def check_database(**_: object) -> list[checks.CheckMessage]:
    """Report a database that the broker cannot live in, or lives in poorly (E006, E007, W001, W002)."""
    config = _config()
    if config is None:
        return []
    alias = config.database
    if alias not in connections:
        return [_error("E006", f"{SETTING}['DATABASE'] is {alias!r}, which DATABASES has not.")]
    connection = connections[alias]
    options = connection.settings_dict.get("OPTIONS", {})
    if connection.vendor == "postgresql":
        lacking = " and no ".join(_lacking_on_postgresql(options))
        return [_warning("W001", f"DATABASES[{alias!r}] has no {lacking}.", POSTGRESQL_HINT)] if lacking else []
    if connection.vendor == "sqlite":
        lacking = " and no ".join(_lacking_on_sqlite(options, str(connection.settings_dict["NAME"])))
        return [_warning("W002", f"DATABASES[{alias!r}] has no {lacking}.", SQLITE_HINT)] if lacking else []
    who = VENDORS.get(connection.vendor, f"{connection.vendor} has")
    problem = f"DATABASES[{alias!r}] cannot hold the broker: {who} not what it is built on."
    return [_error("E007", problem, "Use PostgreSQL 14 or newer, or SQLite, for the alias that DATABASE names.")]


def check_auth(**_: object) -> list[checks.CheckMessage]:
    """Report that there are no users and groups to grant topics to (E008)."""
    if apps.is_installed("django.contrib.auth"):
        return []
    return [_error("E008", "The broker grants topics to users and groups: add django.contrib.auth to INSTALLED_APPS.")]


def check_celery(**_: object) -> list[checks.CheckMessage]:
    """Report that what is published would wake nobody (W003, W004)."""
    app = pump.app
    if app.main == "default":  # the one that Celery makes where there is none
        return [_warning("W003", "The project has no Celery app: no worker is woken.", CELERY_HINT)]
    if app.conf.task_always_eager:
        return []
    taken = {getattr(queue, "name", queue) for queue in app.conf.task_queues or ()}
    lacking = ", ".join(name for name in QUEUES if name not in taken)
    problem = f"The task_queues of the Celery app {app.main!r} lack {lacking}: its workers leave them alone."
    return [_warning("W004", problem, QUEUES_HINT)] if lacking else []


def _config() -> BrokerConfig | None:
    """Return the settings, or None where ``check_settings`` has the last word."""
    try:
        return get_config()
    except ConfigInvalidError:
        return None


def _lacking_on_postgresql(options: Mapping[str, Any]) -> Iterator[str]:
    if not options.get("server_side_binding"):
        yield "server_side_binding"
    if options.get("prepare_threshold") is None:
        yield "prepare_threshold"


def _lacking_on_sqlite(options: Mapping[str, Any], name: str) -> Iterator[str]:
    in_memory = name == ":memory:" or "mode=memory" in name
    if not in_memory and not WAL.search(options.get("init_command") or ""):
        yield "write-ahead log (journal_mode=WAL)"
    if str(options.get("transaction_mode")).upper() not in {"IMMEDIATE", "EXCLUSIVE"}:
        yield "immediate transactions (transaction_mode)"
    if not options.get("timeout"):
        yield "timeout"


def _error(check_id: str, problem: str, hint: str = "") -> checks.CheckMessage:
    return checks.Error(problem, hint=hint or None, id=f"{TAG}.{check_id}")


def _warning(check_id: str, problem: str, hint: str) -> checks.CheckMessage:
    return checks.Warning(problem, hint=hint, id=f"{TAG}.{check_id}")
