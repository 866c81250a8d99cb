"""Translate a declaration into the columns of its row, and a row back into what would declare it."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from enum import StrEnum
from hashlib import sha256
from typing import Any, TypeVar

from datapunk_broker.breaker import BreakerPolicy
from datapunk_broker.conf import BindingConfig, SubscriptionConfig, TopicConfig, get_config
from datapunk_broker.exceptions import ConfigInvalidError
from datapunk_broker.models import Binding, Subscription, Topic
from datapunk_broker.payload import decode, encode

C = TypeVar("C", TopicConfig, SubscriptionConfig)

NOT_COLUMNS = {TopicConfig: {"name"}, SubscriptionConfig: {"name", "topic", "bindings"}}
"""What a config has beside the columns of its own row that may change."""


def columns(config: TopicConfig | SubscriptionConfig) -> dict[str, Any]:
    """Return the columns that a config gives its row, save its name, topic and bindings."""
    names = [field.name for field in fields(config) if field.name not in NOT_COLUMNS[type(config)]]
    texts = ("endpoint_url", "secret")
    return {
        name: _column(getattr(config, name)) if name not in texts else getattr(config, name) or "" for name in names
    }


def topic_config(row: Topic) -> TopicConfig:
    """Return the config that would make this row."""
    return TopicConfig(**_options(TopicConfig, row), name=row.name)


def subscription_config(row: Subscription) -> SubscriptionConfig:
    """Return the config that would make this row (its topic is loaded, its bindings are prefetched)."""
    bindings = tuple(BindingConfig(b.routing_key, b.headers) for b in row.bindings.all())
    options = _options(SubscriptionConfig, row)
    return SubscriptionConfig(**options, name=row.name, topic=row.topic.name, bindings=bindings)


def binding_rows(subscription: Subscription, config: SubscriptionConfig) -> list[Binding]:
    """Return the rows of a subscription's bindings, not saved yet."""
    return [Binding(subscription=subscription, routing_key=b.routing_key, headers=b.headers) for b in config.bindings]


def merged(config: C, changes: Mapping[str, Any]) -> C:
    """Return a config with some options changed; what it is called and its topic cannot change.

    Raises ConfigInvalidError for an option that is unknown, not valid or cannot change.
    """
    for fixed in ("name", "topic"):
        if fixed in changes and changes[fixed] != getattr(config, fixed, changes[fixed]):
            problem = f"is {getattr(config, fixed)!r} and cannot change: messages that wait are kept under it"
            raise ConfigInvalidError(fixed, problem)
    return type(config).from_dict({**_shallow(config), **changes})


def plain(config: TopicConfig | SubscriptionConfig) -> dict[str, Any]:
    """Return what was declared as a JSON value, without the secret."""
    declared: dict[str, Any] = decode(encode(config.as_declaration()))
    return declared


def memory_of(config: TopicConfig | SubscriptionConfig) -> dict[str, Any]:
    """Return what a row remembers of its declaration: as ``plain``, and a fingerprint of the secret if one is given."""
    declared = plain(config)
    if isinstance(config, SubscriptionConfig) and config.secret is not None:
        # Of what is in the row beside it: a key that rotates would only make it look changed.
        declared["secret"] = sha256(f"{config.name}:{config.secret}".encode()).hexdigest()
    return declared


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names whose JSON values are not the same; True is not 1, but 1 is 1.0."""
    return tuple(name for name in after if not _same(before.get(name), after[name]))


def is_persistent(topic: Topic | TopicConfig) -> bool:
    """Whether a topic stores its messages, by its own option or the settings'."""
    return get_config().enable_persistence if topic.persistent is None else topic.persistent


def _options(kind: type[TopicConfig | SubscriptionConfig], row: Topic | Subscription) -> dict[str, Any]:
    own = [field for field in fields(kind) if field.name not in NOT_COLUMNS[kind]]
    values = {field: getattr(row, field.name) for field in own}
    # A text column or a blank form says "" where a config says None.
    return {f.name: None if value == "" and f.default is None else value for f, value in values.items()}


def _shallow(config: TopicConfig | SubscriptionConfig) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in fields(config)}


def _column(value: Any) -> Any:
    if isinstance(value, BreakerPolicy):
        return asdict(value)
    return value.value if isinstance(value, StrEnum) else value


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and _all_same(zip(one, other, strict=True))
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


def _all_same(pairs: Iterable[tuple[Any, Any]]) -> bool:
    return all(_same(one, other) for one, other in pairs)
