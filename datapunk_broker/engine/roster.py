"""Know the subscriptions of a transport as delivering needs them, their settings resolved."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from datapunk_broker.breaker import BreakerPolicy, from_setting
from datapunk_broker.conf import BrokerConfig, get_config
from datapunk_broker.models import Subscription
from datapunk_broker.retry import RetryPolicy
from datapunk_broker.states import BreakerState, DeliveryMode, SubscriptionMode, SubscriptionState, Transport
from datapunk_broker.transports import Endpoint

SLACK = 1.0
"""Seconds that may pass between a claim and the first call of it."""

MAX_AGE = 1.0
"""Seconds that a roster is used for; what must be exact (paused, breaker) the claim asks the database itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """A subscription, every option resolved: its own, else its topic's, else the settings'. Durations are seconds."""

    id: int
    name: str
    topic: str
    topic_id: int
    transport: Transport
    handler: str
    endpoint: Endpoint | None
    mode: SubscriptionMode
    delivery_mode: DeliveryMode
    ack_deadline: float
    timeout: float
    retry: RetryPolicy
    batch_size: int
    batch_window: float | None
    max_in_flight: int | None
    ordering: bool
    breaker: BreakerPolicy | None
    breaker_closed: bool
    dead_letter_topic: str | None
    keeps_dead_letters: bool
    keeps_history: bool

    @property
    def lease(self) -> float:
        """How long a claim lasts: longer than a call may take, so that one which begins at once can end in it."""
        is_pull = self.transport == Transport.PULL
        return self.ack_deadline if is_pull else max(self.ack_deadline, self.timeout + SLACK)

    @property
    def guarded(self) -> bool:
        """Whether its claims are taken one at a time, under its lock."""
        return self.ordering or self.max_in_flight is not None or self.batch_window is not None


def resolve(subscription: Subscription, config: BrokerConfig) -> Subscriber:
    """Resolve one subscription (its topic is loaded)."""
    topic = subscription.topic

    def own(field: str, default: Any) -> Any:
        value = getattr(subscription, field)
        return default if value is None else value

    return Subscriber(
        id=subscription.pk,
        name=subscription.name,
        topic=topic.name,
        topic_id=topic.pk,
        transport=Transport(subscription.transport),
        handler=subscription.handler,
        endpoint=_endpoint(subscription),
        mode=SubscriptionMode(subscription.mode),
        delivery_mode=DeliveryMode(subscription.delivery_mode or topic.delivery_mode or config.delivery_mode),
        ack_deadline=own("ack_deadline", config.ack_deadline),
        timeout=own("timeout", config.timeout),
        retry=_retry(subscription, config),
        batch_size=own("batch_size", config.batch_size),
        batch_window=subscription.batch_window or None,
        max_in_flight=subscription.max_in_flight,
        ordering=subscription.ordering,
        breaker=config.breaker if subscription.breaker is None else from_setting(subscription.breaker),
        breaker_closed=subscription.breaker_state == BreakerState.CLOSED,
        dead_letter_topic=topic.dead_letter_topic,
        keeps_dead_letters=config.enable_dlq,
        keeps_history=topic.history,
    )


def _endpoint(subscription: Subscription) -> Endpoint | None:
    if subscription.transport != Transport.WEBHOOK:
        return None
    secrets = (subscription.secret, subscription.previous_secret)
    return Endpoint(subscription.endpoint_url, tuple(filter(None, secrets)))


def _retry(subscription: Subscription, config: BrokerConfig) -> RetryPolicy:
    fields = ("max_attempts", "retry_strategy", "retry_delay", "backoff_factor", "max_retry_delay", "jitter")
    own = {field: getattr(subscription, field) for field in fields}
    return RetryPolicy(**{f: getattr(config, f) if value is None else value for f, value in own.items()})


def subscribers(ids: Iterable[int], using: str) -> dict[int, Subscriber]:
    """Return these subscriptions, resolved, by id; one statement."""
    found = Subscription.objects.using(using).filter(pk__in=list(ids)).select_related("topic")
    config = get_config()
    return {s.pk: resolve(s, config) for s in found}


def active(names: Iterable[str], using: str) -> list[Subscriber]:
    """Return those of these subscriptions that are active, resolved; one statement."""
    found = Subscription.objects.using(using).named(*names).filter(state=SubscriptionState.ACTIVE)
    config = get_config()
    return [resolve(s, config) for s in found.select_related("topic")]


class Roster:
    """The active subscriptions of one transport, read again when older than a second."""

    def __init__(self, transport: str, using: str) -> None:
        self.transport, self.using = transport, using
        self._by_id: dict[int, Subscriber] = {}
        self._read_at: float | None = None

    def current(self) -> dict[int, Subscriber]:
        """Return the subscriptions by id."""
        if self._read_at is None or time.monotonic() - self._read_at > MAX_AGE:
            self._read_at = time.monotonic()
            active = Subscription.objects.using(self.using).filter(
                transport=self.transport, state=SubscriptionState.ACTIVE
            )
            config = get_config()
            self._by_id = {s.pk: resolve(s, config) for s in active.select_related("topic")}
        return self._by_id
