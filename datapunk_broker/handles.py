"""A topic with a type, and the options of the verbs: what one hands in is checked where it is written."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypedDict, TypeVar, Unpack, overload

from datapunk_broker.breaker import BreakerPolicy
from datapunk_broker.conf import BindingConfig, SubscriptionConfig
from datapunk_broker.envelope import Headers, Outgoing, Receipt, Received
from datapunk_broker.registry import path_of, takes_batch
from datapunk_broker.retry import RetryPolicy
from datapunk_broker.states import DeliveryMode, RetryStrategy, SubscriptionMode

if TYPE_CHECKING:
    from datapunk_broker.broker import MessageBroker

T = TypeVar("T")
R = TypeVar("R")

Seconds = float | timedelta


class PublishOptions(TypedDict, total=False):
    """What goes with a payload; ``Outgoing`` says what each is."""

    routing_key: str
    headers: Headers
    priority: int
    ordering_key: str | None
    idempotency_key: str | None
    delay: timedelta | None
    ttl: timedelta | None
    correlation_id: str | None
    reply_to: str | None
    content_type: str


class SubscribeOptions(TypedDict, total=False):
    """How a function is subscribed; ``SubscriptionConfig`` says what each is. What is absent takes its default.

    routing_key, headers: one binding each; bindings: several. retry: all about retries in one value.
    mode: for a function without annotations; else its parameter says whether it takes a list.
    """

    routing_key: str | None
    headers: Headers | None
    bindings: Iterable[BindingConfig | Mapping[str, Any]]
    retry: RetryPolicy | None
    mode: SubscriptionMode | Literal["individual", "batch"]
    delivery_mode: DeliveryMode | Literal["at_least_once", "at_most_once", "exactly_once"] | None
    ack_deadline: Seconds | None
    timeout: Seconds | None
    max_attempts: int | None
    retry_strategy: RetryStrategy | Literal["fixed", "exponential", "linear", "random", "fibonacci"] | None
    retry_delay: Seconds | None
    backoff_factor: float | None
    max_retry_delay: Seconds | None
    jitter: float | None
    batch_size: int | None
    batch_window: Seconds | None
    max_in_flight: int | None
    ordering: bool
    breaker: BreakerPolicy | Mapping[str, Any] | Literal[False] | None


def config_of(
    name: str | None, topic: str, function: Callable[..., Any], options: SubscribeOptions
) -> SubscriptionConfig:
    """Return the subscription of a function; raises ConfigInvalidError for an option that is unknown or wrong."""
    given: dict[str, Any] = {**options}
    bindings = [{key: given.pop(key)} for key in ("routing_key", "headers") if given.get(key) is not None]
    given = {key: value for key, value in given.items() if key not in ("routing_key", "headers")}
    retry = given.pop("retry", None)
    return SubscriptionConfig.from_dict(
        {
            "mode": SubscriptionMode.BATCH if takes_batch(function) else SubscriptionMode.INDIVIDUAL,
            "handler": path_of(function),
            **given,
            **(asdict(retry) if retry else {}),
            "name": function.__name__ if name is None else name,
            "topic": topic,
            "bindings": (*bindings, *given.get("bindings", ())),
        }
    )


class Subscribes(Protocol[T]):
    """Declares a function that takes one message of a topic, or a list of them."""

    @overload
    def __call__(self, function: Callable[[Received[T]], R]) -> Callable[[Received[T]], R]: ...

    @overload
    def __call__(self, function: Callable[[list[Received[T]]], R]) -> Callable[[list[Received[T]]], R]: ...


class Topic(Generic[T]):
    """A topic's name with the type of its payloads: a dataclass, TypedDict, msgspec Struct or pydantic model."""

    def __init__(self, broker: "MessageBroker[Any, Any]", name: str, type: type[T]) -> None:  # noqa: A002
        self.broker, self.name, self.type = broker, name, type

    def publish(self, payload: T, **options: Unpack[PublishOptions]) -> Receipt:
        """Publish one payload, as ``broker.publish`` does."""
        return self.broker.publish(self.name, payload, **options)

    async def apublish(self, payload: T, **options: Unpack[PublishOptions]) -> Receipt:
        """Publish one payload from asynchronous code."""
        return await self.broker.apublish(self.name, payload, **options)

    def publish_many(self, messages: Iterable[Outgoing[T]]) -> tuple[Receipt, ...]:
        """Publish many, all or none."""
        return self.broker.publish_many(self.name, messages)

    async def apublish_many(self, messages: Iterable[Outgoing[T]]) -> tuple[Receipt, ...]:
        """Publish many, all or none, from asynchronous code."""
        return await self.broker.apublish_many(self.name, messages)

    def subscriber(self, name: str | None = None, **options: Unpack[SubscribeOptions]) -> Subscribes[T]:
        """Declare the function below as a subscriber of this topic, as ``broker.subscriber`` does."""
        declare: Subscribes[T] = self.broker.subscriber(self.name, name, **options)  # type: ignore[assignment]
        return declare

    def __str__(self) -> str:
        return self.name
