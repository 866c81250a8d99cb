"""The reader of every option: settings, topics and subscriptions share them, as they share the words."""

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from reprlib import repr as short
from typing import Any, Literal

from datapunk_broker.breaker import BreakerPolicy, from_setting
from datapunk_broker.conf.options import (
    CENTURY,
    Reader,
    flag,
    member,
    number,
    seconds,
    text,
    whole,
)
from datapunk_broker.exceptions import ConfigInvalidError, PayloadInvalidError
from datapunk_broker.payload import encode
from datapunk_broker.states import (
    DeliveryMode,
    Overflow,
    RetryStrategy,
    SubscriptionMode,
    TopicType,
    Transport,
)

NAME = re.compile(r"[A-Za-z0-9._-]{1,200}", re.ASCII)
RATE = re.compile(r"[1-9][0-9]{0,8}/(s|m|h|d)[a-z]*", re.ASCII)
HANDLER_PATH = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*")
LONGEST_HANDLER_PATH = 500
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""NUL as JSON writes it; not a backslash that happens to stand before the same letters."""


def is_name(value: object) -> bool:
    """Return whether a topic or subscription may be called so."""
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def name(field: str, value: Any) -> str:
    """Read the name of a topic or subscription."""
    if not is_name(value):
        problem = f"must be 1 to 200 letters, digits, dots, underscores or hyphens, not {short(value)}"
        raise ConfigInvalidError(field, problem)
    return str(value)


def rate(field: str, value: Any) -> str:
    """Read a rate as Django REST framework writes it: "100/min"."""
    if not isinstance(value, str) or not RATE.fullmatch(value):
        raise ConfigInvalidError(field, f'must be a rate such as "100/min", not {short(value)}')
    return value


def handler_path(field: str, value: Any) -> str:
    """Read where a handler is imported from: ``module:qualname``, or "" for one that cannot be."""
    fits = isinstance(value, str) and len(value) <= LONGEST_HANDLER_PATH
    if not fits or (value and not HANDLER_PATH.fullmatch(value)):
        raise ConfigInvalidError(field, f'must be "module:function", not {short(value)}')
    return str(value)


def schema(field: str, value: Any) -> dict[str, Any] | bool:
    """Read a JSON Schema: an object, or True or False."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, Mapping):
        raise ConfigInvalidError(field, f"must be a JSON Schema (an object, true or false), not {short(value)}")
    try:
        body = encode(value)
    except PayloadInvalidError as error:
        raise ConfigInvalidError(field, error.problem) from None
    if NUL.search(body):
        raise ConfigInvalidError(field, "has a NUL, which cannot be stored")
    return dict(value)


def breaker(field: str, value: Any) -> BreakerPolicy | Literal[False]:
    """Read a breaker's policy, a dict of its fields, or False for none."""
    if isinstance(value, BreakerPolicy):
        return value
    try:
        return from_setting(value) or False
    except ConfigInvalidError as error:
        place = field if error.field == "breaker" else f"{field}.{error.field}"
        raise ConfigInvalidError(place, error.problem) from None


def networks(field: str, value: Any) -> tuple[IPv4Network | IPv6Network, ...]:
    """Read a list of networks or single addresses."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigInvalidError(field, f'must be a list of networks such as "10.1.0.0/16", not {short(value)}')
    try:
        return tuple(ip_network(item) for item in value)
    except ValueError as error:
        raise ConfigInvalidError(field, str(error)) from None


READERS: Mapping[str, Reader] = {
    "name": name,
    "topic": name,
    "type": member(TopicType),
    "topic_type": member(TopicType),
    "transport": member(Transport),
    "mode": member(SubscriptionMode),
    "delivery_mode": member(DeliveryMode),
    "persistent": flag,
    "enable_persistence": flag,
    "max_message_size": whole(1),
    "max_queue_size": whole(0),
    "overflow": member(Overflow),
    "max_subscribers": whole(1),
    "retention_hours": number(0, CENTURY / timedelta(hours=1), "hours"),
    "dead_letter_retention_hours": number(0, CENTURY / timedelta(hours=1), "hours"),
    "enable_compression": flag,
    "compression_threshold": whole(0),
    "schema": schema,
    "stream": flag,
    "history": flag,
    "dead_letter_topic": name,
    "enable_dlq": flag,
    "ack_deadline": seconds(above=True),
    "timeout": seconds(above=True),
    "max_attempts": whole(1),
    "retry_strategy": member(RetryStrategy),
    "retry_delay": seconds(),
    "backoff_factor": number(1, 1_000),
    "max_retry_delay": seconds(),
    "jitter": number(0, 1),
    "batch_size": whole(1, 1_000),
    "batch_window": seconds(),
    "max_in_flight": whole(1),
    "ordering": flag,
    "breaker": breaker,
    "endpoint_url": text(2_000),
    "secret": text(200),
    "handler": handler_path,
    "cleanup_interval": seconds(above=True),
    "throttle": rate,
    "public_metrics": flag,
    "database": text(200),
    "webhook_allowed_networks": networks,
}
"""The reader of each option by its name; what holds other configs is read where those are."""
