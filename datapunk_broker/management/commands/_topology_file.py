"""A topology as a file: JSON that is the same for the same topology, and read back with the place of what is wrong."""

import json
from collections.abc import Mapping
from dataclasses import fields
from math import isfinite
from typing import Any, NoReturn, TypeVar

from datapunk_broker.administration import Topology
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.conf.options import known_only
from datapunk_broker.conf.settings import read_declared
from datapunk_broker.exceptions import ConfigInvalidError

VERSION = 1
"""Of the file's shape. A later one is refused, for its options would be lost."""

LARGEST = 16 * 1024 * 1024
"""Bytes."""

C = TypeVar("C", TopicConfig, SubscriptionConfig)


def written(topology: Topology) -> str:
    """Return the file of a topology, in ASCII for any terminal; an option that has its default is left out."""
    whole = {
        "version": VERSION,
        "topics": [_given(config) for config in topology.topics],
        "subscriptions": [_given(config) for config in topology.subscriptions],
    }
    return json.dumps(whole, indent=2, sort_keys=True, allow_nan=False) + "\n"


def read(body: bytes) -> Topology:
    """Read a topology from its file; ConfigInvalidError names the place of what is wrong with it."""
    whole = known_only(_parsed(body), ("version", "topics", "subscriptions"), "topology")
    version = whole.get("version")
    if version != VERSION or isinstance(version, bool):
        raise ConfigInvalidError("version", f"must be {VERSION}, the one that this release reads, not {version!r:.40}")
    return Topology(_configs(whole, "topics", TopicConfig), _configs(whole, "subscriptions", SubscriptionConfig))


def _given(config: TopicConfig | SubscriptionConfig) -> dict[str, Any]:
    defaults = {field.name: field.default for field in fields(config)}
    options = config.as_declaration()
    return {name: options[name] for name in options if getattr(config, name) != defaults[name]}


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body, object_pairs_hook=_object, parse_float=_finite, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ConfigInvalidError(place, f"is no JSON: {error.msg}") from None
    except RecursionError:
        raise ConfigInvalidError("topology", "is nested too deeply to be read") from None
    except ValueError as error:  # no UTF-8, or a number of too many digits
        raise ConfigInvalidError("topology", f"cannot be read: {error}") from None


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for name, value in members:
        if name in read:
            raise ConfigInvalidError(f"{name:.200}", "stands twice in one object: keep one of the two")
        read[name] = value
    return read


def _finite(digits: str) -> float:
    number = float(digits)
    return number if isfinite(number) else _no_number(digits)


def _no_number(text: str) -> NoReturn:
    raise ConfigInvalidError("topology", f"holds {text:.40}, which is no number that can be kept")


def _configs(whole: Mapping[str, Any], key: str, kind: type[C]) -> tuple[C, ...]:
    items = whole.get(key, [])
    if not isinstance(items, list):
        raise ConfigInvalidError(key, f"must be a list, not {type(items).__name__}")
    return tuple(read_declared(f"{key}[{index}]", kind, item) for index, item in enumerate(items))
