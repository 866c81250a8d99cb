"""One dict in Django's settings is one frozen dataclass here, read again when the dict changes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache, cached_property
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Self, TypeVar

from django.conf import settings
from django.core.signals import setting_changed

from datapunk_broker.breaker import BreakerPolicy
from datapunk_broker.conf.declarations import SubscriptionConfig, TopicConfig
from datapunk_broker.conf.options import Reader, normalise
from datapunk_broker.conf.readers import READERS
from datapunk_broker.exceptions import ConfigInvalidError
from datapunk_broker.retry import RetryPolicy
from datapunk_broker.states import DeliveryMode, Overflow, RetryStrategy, TopicType

C = TypeVar("C", TopicConfig, SubscriptionConfig)

SETTING = "DATAPUNK_BROKER"
"""The name of the dict in Django's settings."""


@dataclass(frozen=True, kw_only=True)
class BrokerConfig:
    """What ``DATAPUNK_BROKER`` says, by its keys in lower case. Durations are seconds unless named otherwise.

    A topic's or subscription's own option goes before the one here. Errors name the key in upper case.

    max_message_size: bytes. compression_threshold: bytes from which bodies are compressed, 0 for never.
    max_attempts counts the first delivery; the waits follow retry_strategy and what goes with it.
    enable_dlq: whether dead letters are kept, and for how long. cleanup_interval: from one prune to the next.
    max_queue_size: a subscription's unsettled deliveries, 0 for no limit; overflow: what then gives way.
    ack_deadline: the lease of a claim. timeout: how long a handler may run.
    breaker: None for none. throttle: requests a rate, as "100/min"; None for no limit.
    public_metrics: scrapes need no credentials. database: the alias the broker lives in.
    webhook_allowed_networks: networks that are not public and that webhooks may reach all the same.
    topics and subscriptions: the declared topology.
    """

    delivery_mode: DeliveryMode = DeliveryMode.AT_LEAST_ONCE
    topic_type: TopicType = TopicType.FANOUT
    max_message_size: int = 1_048_576
    enable_persistence: bool = True
    enable_compression: bool = True
    compression_threshold: int = 1024
    max_attempts: int = 3
    retry_strategy: RetryStrategy = RetryStrategy.EXPONENTIAL
    retry_delay: float = 1.0
    backoff_factor: float = 2.0
    max_retry_delay: float = 30.0
    jitter: float = 0.1
    enable_dlq: bool = True
    dead_letter_retention_hours: float = 168.0
    retention_hours: float = 24.0
    cleanup_interval: float = 3600.0
    max_queue_size: int = 0
    overflow: Overflow = Overflow.REJECT
    max_subscribers: int = 100
    batch_size: int = 100
    ack_deadline: float = 30.0
    timeout: float = 15.0
    breaker: BreakerPolicy | None = None
    throttle: str | None = None
    public_metrics: bool = False
    database: str = "default"
    webhook_allowed_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    topics: tuple[TopicConfig, ...] = ()
    subscriptions: tuple[SubscriptionConfig, ...] = ()

    def __post_init__(self) -> None:
        normalise(self, SETTINGS_READERS, label=str.upper)

    @classmethod
    def from_settings(cls, given: Mapping[str, Any]) -> Self:
        """Read the dict by its upper-case keys; unknown ones are left for ``problems`` to report.

        Raises ConfigInvalidError for a value that is not valid.
        """
        return cls(**{key.lower(): value for key, value in settings_dict(given).items() if key in KEYS})

    @cached_property
    def retry(self) -> RetryPolicy:
        """The retry policy that subscriptions inherit."""
        return RetryPolicy(
            max_attempts=self.max_attempts,
            retry_strategy=self.retry_strategy,
            retry_delay=self.retry_delay,
            backoff_factor=self.backoff_factor,
            max_retry_delay=self.max_retry_delay,
            jitter=self.jitter,
        )


@cache
def get_config() -> BrokerConfig:
    """Return what Django's settings say, read once until they change.

    Raises ConfigInvalidError for a value that is not valid.
    """
    return BrokerConfig.from_settings(getattr(settings, SETTING, {}))


def settings_dict(given: object) -> Mapping[str, Any]:
    """Return the setting if it is a dict at all; raises ConfigInvalidError."""
    if not isinstance(given, Mapping):
        raise ConfigInvalidError(SETTING, f"must be a dict, not {type(given).__name__}")
    return given


def _forget(*, setting: str, **_: object) -> None:
    if setting == SETTING:
        get_config.cache_clear()


setting_changed.connect(_forget, dispatch_uid="datapunk_broker.conf")


def read_setting(key: str, value: Any) -> Any:
    """Return the value of one known key as BrokerConfig keeps it; raises ConfigInvalidError."""
    return getattr(BrokerConfig.from_settings({key: value}), key.lower())


def read_declared(place: str, kind: type[C], item: Any) -> C:
    """Return one declaration, given as such or as a dict; an error's field begins with ``place``."""
    if isinstance(item, kind):
        return item
    if not isinstance(item, Mapping):
        raise ConfigInvalidError(place, f"must be a {kind.__name__} or a dict, not {type(item).__name__}")
    try:
        return kind.from_dict(item)
    except ConfigInvalidError as error:
        raise ConfigInvalidError(f"{place}.{error.field}", error.problem) from None


def _list_of(kind: type[C]) -> Reader:
    def read(field: str, value: Any) -> tuple[C, ...]:
        if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
            raise ConfigInvalidError(field, f"must be a list of {kind.__name__} or dicts, not {type(value).__name__}")
        return tuple(read_declared(f"{field}[{index}]", kind, item) for index, item in enumerate(value))

    return read


def _breaker_or_none(field: str, value: Any) -> BreakerPolicy | None:
    return READERS["breaker"](field, value) or None


SETTINGS_READERS: Mapping[str, Reader] = {
    **READERS,
    "breaker": _breaker_or_none,
    "topics": _list_of(TopicConfig),
    "subscriptions": _list_of(SubscriptionConfig),
}
"""The reader of each setting by its field."""

KEYS: Mapping[str, Any] = {field.name.upper(): field.default for field in fields(BrokerConfig)}
"""Every key that the dict may hold, with its default."""
