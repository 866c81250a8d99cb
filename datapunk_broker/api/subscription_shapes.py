"""A subscription as it is asked for, and as it is shown."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from datapunk_broker.api.fields import Name, Object, Seconds, ShortText, SomeCount, SomeSeconds
from datapunk_broker.breaker import from_setting
from datapunk_broker.conf import BrokerConfig, get_config
from datapunk_broker.models import Subscription
from datapunk_broker.states import (
    BreakerState,
    DeliveryMode,
    RetryStrategy,
    SubscriptionMode,
    SubscriptionState,
    Transport,
)

WRITE_ONLY = {"writeOnly": True}

OwnTransport = Literal["handler", "webhook", "pull"]


class Binding(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """A routing key or pattern (direct, topic), or header arguments (headers)."""

    EITHER: ClassVar = ("routing_key", "headers")

    routing_key: ShortText | UnsetType = UNSET
    headers: Object | UnsetType = UNSET


class Breaker(Struct, forbid_unknown_fields=True):
    """So many failures in a row stop deliveries for so long."""

    failures: SomeCount
    open_seconds: SomeSeconds


Never = Annotated[bool, Meta(extra_json_schema={"const": False}, description="No breaker, whatever the settings say.")]


class SubscriptionChanges(Struct, kw_only=True, forbid_unknown_fields=True):
    """Options of a subscription; null, or leaving one out of a new one, takes the topic's or the settings' default."""

    name: Name | UnsetType = UNSET
    topic: Name | UnsetType = UNSET
    transport: OwnTransport | UnsetType = UNSET
    bindings: Annotated[list[Binding], Meta(max_length=1000)] | UnsetType = UNSET
    mode: SubscriptionMode | UnsetType = UNSET
    delivery_mode: DeliveryMode | UnsetType | None = UNSET
    ack_deadline: SomeSeconds | UnsetType | None = UNSET
    timeout: SomeSeconds | UnsetType | None = UNSET
    max_attempts: SomeCount | UnsetType | None = UNSET
    retry_strategy: RetryStrategy | UnsetType | None = UNSET
    retry_delay: Seconds | UnsetType | None = UNSET
    backoff_factor: Annotated[float, Meta(ge=1, le=1000)] | UnsetType | None = UNSET
    max_retry_delay: Seconds | UnsetType | None = UNSET
    jitter: Annotated[float, Meta(ge=0, le=1)] | UnsetType | None = UNSET
    batch_size: Annotated[int, Meta(ge=1, le=1000)] | UnsetType | None = UNSET
    batch_window: Seconds | UnsetType | None = UNSET
    max_in_flight: SomeCount | UnsetType | None = UNSET
    ordering: bool | UnsetType = UNSET
    breaker: Breaker | Never | UnsetType | None = UNSET
    endpoint_url: Annotated[str, Meta(max_length=2000)] | UnsetType | None = UNSET
    secret: Annotated[str, Meta(max_length=200, extra_json_schema=WRITE_ONLY)] | UnsetType | None = UNSET
    state: Literal["active", "paused"] | UnsetType = UNSET


class NewSubscription(SubscriptionChanges, kw_only=True, forbid_unknown_fields=True):
    """A subscription to be made."""

    name: Name
    topic: Name


class ShownSubscription(Struct, kw_only=True):
    """A subscription, every option as it is in force; ``inherited`` names those that are not its own.

    endpoint_url: a webhook's, for who may change it; null for others.
    secret: only in the answer to the request that made it, and only when that gave none.
    """

    name: str
    topic: str
    transport: Transport
    bindings: list[Binding]
    mode: SubscriptionMode
    delivery_mode: DeliveryMode
    ack_deadline: float
    timeout: float
    max_attempts: int
    retry_strategy: RetryStrategy
    retry_delay: float
    backoff_factor: float
    max_retry_delay: float
    jitter: float
    batch_size: int
    batch_window: float | None
    max_in_flight: int | None
    ordering: bool
    breaker: Breaker | None
    breaker_state: BreakerState
    endpoint_url: str | None
    secret: str | UnsetType = UNSET
    state: SubscriptionState
    inherited: list[str]
    created_at: datetime
    updated_at: datetime


OWN = ("name", "transport", "mode", "batch_window", "max_in_flight", "ordering", "breaker_state", "state")
DATES = ("created_at", "updated_at")
INHERITED = (
    *("ack_deadline", "timeout", "max_attempts", "retry_strategy", "retry_delay", "backoff_factor"),
    *("max_retry_delay", "jitter", "batch_size", "delivery_mode", "breaker"),
)


def shown(row: Subscription, *, with_endpoint: bool = True, secret: str | UnsetType = UNSET) -> ShownSubscription:
    """Return a subscription as it is in force (its topic is loaded, its bindings are prefetched)."""
    inherited = [name for name in INHERITED if getattr(row, name) is None]
    options = {name: getattr(row, name) for name in INHERITED} | _defaults(row, inherited, get_config())
    return ShownSubscription(
        **{name: getattr(row, name) for name in (*OWN, *DATES)},
        **{**options, "breaker": _breaker(options["breaker"])},
        topic=row.topic.name,
        bindings=[_binding(b.routing_key, b.headers) for b in row.bindings.all()],
        endpoint_url=(with_endpoint and row.endpoint_url) or None,
        secret=secret,
        inherited=inherited,
    )


def _defaults(row: Subscription, names: list[str], config: BrokerConfig) -> dict[str, Any]:
    defaults = {name: getattr(config, name) for name in names}
    if "delivery_mode" in defaults and row.topic.delivery_mode:
        defaults["delivery_mode"] = row.topic.delivery_mode
    return defaults


def _binding(routing_key: str | None, headers: Object | None) -> Binding:
    return Binding(headers=headers) if routing_key is None else Binding(routing_key=routing_key)  # type: ignore[arg-type]


def _breaker(setting: Any) -> Breaker | None:
    policy = from_setting(setting) if not hasattr(setting, "open_seconds") else setting
    return Breaker(**asdict(policy)) if policy else None
