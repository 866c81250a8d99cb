"""A topic, a subscription and its bindings as code declares them: frozen, and each option valid in itself.

Enums may be given by their value and durations as ``timedelta``; both are kept as what the annotation says.
An option that cannot be read raises ConfigInvalidError with its name; options that contradict each other are
found by ``check_topic`` and ``check_subscription``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, asdict, dataclass, field, fields
from enum import StrEnum
from reprlib import repr as short
from typing import Any, Literal, Self, TypeVar, cast

from datapunk_broker.breaker import BreakerPolicy
from datapunk_broker.conf.options import Reader, known_only, normalise
from datapunk_broker.conf.readers import READERS
from datapunk_broker.exceptions import ConfigInvalidError
from datapunk_broker.states import (
    DeliveryMode,
    Overflow,
    RetryStrategy,
    SubscriptionMode,
    TopicType,
    Transport,
)

T = TypeVar("T")


@dataclass(frozen=True)
class BindingConfig:
    """One condition under which a subscription gets a message.

    routing_key: the exact key (DIRECT) or a pattern (TOPIC). headers: arguments to match (HEADERS).
    """

    routing_key: str | None = None
    headers: Mapping[str, Any] | None = None

    def as_declaration(self) -> dict[str, Any]:
        """Return the one that is given, by its name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def read(cls, field: str, value: Any) -> Self:
        """Read ``{"routing_key": …}`` or ``{"headers": …}``; raises ConfigInvalidError."""
        if isinstance(value, cls):
            return value
        if isinstance(value, Mapping) and set(value) <= {"routing_key", "headers"}:
            return cls(**value)
        problem = f'must hold {{"routing_key": …}} or {{"headers": …}}, not {short(value)}'
        raise ConfigInvalidError(field, problem)


@dataclass(frozen=True)
class TopicConfig:
    """A topic; None takes the settings' default.

    type: how it chooses its subscriptions. delivery_mode: what they are promised unless they say otherwise.
    persistent: False stores nothing and delivers at most once. max_message_size: bytes.
    max_queue_size: a subscription's unsettled deliveries, 0 for no limit; overflow: what then gives way.
    max_subscribers: how many subscriptions. retention_hours: how long messages are kept.
    compression_threshold: bytes from which bodies are compressed, 0 for never.
    schema: a JSON Schema that payloads must fit. stream: kept for WebSocket and SSE readers.
    dead_letter_topic: dead letters are published there as well. history: a row for each settled delivery.
    """

    name: str
    _: KW_ONLY
    type: TopicType | None = None
    delivery_mode: DeliveryMode | None = None
    persistent: bool | None = None
    max_message_size: int | None = None
    max_queue_size: int | None = None
    overflow: Overflow | None = None
    max_subscribers: int | None = None
    retention_hours: float | None = None
    compression_threshold: int | None = None
    schema: Mapping[str, Any] | bool | None = None
    stream: bool = True
    dead_letter_topic: str | None = None
    history: bool = True

    def __post_init__(self) -> None:
        normalise(self, READERS)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """Read a topic from its options by name; ConfigInvalidError for one unknown or invalid."""
        return _declared(cls, given, "topic", required=("name",))

    def as_declaration(self) -> dict[str, Any]:
        """Return what was declared as JSON values."""
        return _plain(asdict(self))


@dataclass(frozen=True)
class SubscriptionConfig:
    """A subscription; None takes the topic's, then the settings' default. Durations are seconds.

    bindings: none means every message, save on a DIRECT topic: its own name.
    timeout: how long a handler may run. ack_deadline: the lease of a claim.
    max_attempts counts the first delivery; the waits follow retry_strategy and what goes with it.
    batch_size: messages a batch; batch_window: how long a batch waits to fill.
    max_in_flight: claims at a time, None for no limit. ordering: one after the other per ordering key.
    breaker: when to stop for a while after failures; False for never.
    endpoint_url and secret: a webhook's. handler: ``module:function``, for a worker to import.
    """

    name: str
    topic: str
    _: KW_ONLY
    transport: Transport = Transport.HANDLER
    bindings: tuple[BindingConfig, ...] = ()
    mode: SubscriptionMode = SubscriptionMode.INDIVIDUAL
    delivery_mode: DeliveryMode | None = None
    ack_deadline: float | None = None
    timeout: float | None = None
    max_attempts: int | None = None
    retry_strategy: RetryStrategy | None = None
    retry_delay: float | None = None
    backoff_factor: float | None = None
    max_retry_delay: float | None = None
    jitter: float | None = None
    batch_size: int | None = None
    batch_window: float | None = None
    max_in_flight: int | None = None
    ordering: bool = False
    breaker: BreakerPolicy | Literal[False] | None = None
    endpoint_url: str | None = None
    secret: str | None = field(default=None, repr=False)
    handler: str = ""

    def __post_init__(self) -> None:
        normalise(self, _SUBSCRIPTION_READERS)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """Read a subscription from its options by name; ConfigInvalidError for one unknown or invalid."""
        return _declared(cls, given, "subscription", required=("name", "topic"))

    def as_declaration(self) -> dict[str, Any]:
        """Return what was declared as JSON values, without the secret."""
        declared = {**asdict(self), "bindings": [binding.as_declaration() for binding in self.bindings]}
        del declared["secret"]
        return _plain(declared)


def _bindings(field: str, value: Any) -> tuple[BindingConfig, ...]:
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        raise ConfigInvalidError(field, f"must be a list of bindings, not {short(value)}")
    return tuple(BindingConfig.read(f"{field}[{index}]", item) for index, item in enumerate(value))


_SUBSCRIPTION_READERS: Mapping[str, Reader] = {**READERS, "bindings": _bindings}


def _declared(config: type[T], given: Mapping[str, Any], what: str, *, required: tuple[str, ...]) -> T:
    options = known_only(given, [option.name for option in fields(cast("Any", config))], what)
    for name in required:
        if name not in options:
            raise ConfigInvalidError(name, f"is missing: a {what} needs one")
    return config(**options)


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value.value if isinstance(value, StrEnum) else value for name, value in options.items()}
