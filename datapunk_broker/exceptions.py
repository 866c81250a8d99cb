"""One tree of errors: a class per fact, which carries its data, its stable ``code`` and its sentence.

Errors that a handler raises on purpose (``Reject``, ``RetryAfter``, ``BatchFailures``) are here too:
they are words of the conversation between a handler and the broker, not faults.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar


class BrokerError(Exception):
    """Base of everything the broker refuses; ``code`` is stable across Python, REST and WebSocket."""

    code: ClassVar[str] = "broker_error"


class NotFoundError(BrokerError):
    """Base of the errors about a thing that is not there."""


class TopicNotFoundError(NotFoundError):
    """No topic has this name."""

    code = "topic_not_found"

    def __init__(self, topic: str) -> None:
        self.topic = topic
        super().__init__(f"No topic is called {topic!r}. Create it in the admin or declare it in TOPICS.")


class SubscriptionNotFoundError(NotFoundError):
    """No subscription has this name."""

    code = "subscription_not_found"

    def __init__(self, subscription: str) -> None:
        self.subscription = subscription
        super().__init__(
            f"No subscription is called {subscription!r}. Declare it with @broker.subscriber or in SUBSCRIPTIONS, "
            "then run manage.py broker_sync.",
        )


class MessageTooLargeError(BrokerError):
    """The body is larger than its topic takes."""

    code = "message_too_large"

    def __init__(self, topic: str, size: int, limit: int) -> None:
        self.topic, self.size, self.limit = topic, size, limit
        super().__init__(f"A message for {topic!r} has {size} bytes; the topic takes {limit} at most.")


class PayloadInvalidError(BrokerError):
    """A payload, header, key or option cannot be stored or understood; ``field`` names it."""

    code = "payload_invalid"

    def __init__(self, field: str, problem: str) -> None:
        self.field, self.problem = field, problem
        super().__init__(f"{field}: {problem}")


class SchemaMismatchError(BrokerError):
    """The payload does not fit the topic's JSON Schema; ``path`` is a JSON pointer into it."""

    code = "schema_mismatch"

    def __init__(self, topic: str, path: str, problem: str) -> None:
        self.topic, self.path, self.problem = topic, path, problem
        super().__init__(f"The payload does not fit the schema of {topic!r} at {path or '/'}: {problem}")


class QueueFullError(BrokerError):
    """A subscription's backlog is at its limit and its topic refuses more."""

    code = "queue_full"

    def __init__(self, topic: str, subscriptions: tuple[str, ...]) -> None:
        self.topic, self.subscriptions = topic, subscriptions
        super().__init__(
            f"{topic!r} takes no more messages: the backlog of {', '.join(subscriptions)} is at its limit. "
            "Try again later, or raise max_queue_size.",
        )


class RoutingUnsettledError(BrokerError):
    """The topic's bindings changed again and again while a message was being routed."""

    code = "routing_unsettled"

    def __init__(self, topic: str) -> None:
        self.topic = topic
        super().__init__(f"The bindings of {topic!r} kept changing while a message was routed. Publish it again.")


class TooManySubscribersError(BrokerError):
    """The topic has as many subscriptions as it may."""

    code = "too_many_subscribers"

    def __init__(self, topic: str, limit: int) -> None:
        self.topic, self.limit = topic, limit
        super().__init__(f"{topic!r} has {limit} subscriptions, its limit. Raise max_subscribers or remove one.")


class TopicBusyError(BrokerError):
    """A topic is not deleted while deliveries wait for its subscribers; ``pending`` is how many."""

    code = "topic_busy"

    def __init__(self, topic: str, pending: int) -> None:
        self.topic, self.pending = topic, pending
        super().__init__(f"{topic!r} has {pending} deliveries that wait. Let them settle, or delete by force.")


class BindingInvalidError(BrokerError):
    """A binding does not fit its topic's type, or cannot be matched."""

    code = "binding_invalid"

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(problem)


class ConfigInvalidError(BrokerError):
    """A topic's or subscription's option is unknown, out of range, or contradicts another one."""

    code = "config_invalid"

    def __init__(self, field: str, problem: str) -> None:
        self.field, self.problem = field, problem
        super().__init__(f"{field}: {problem}")


class DeliveryModeInvalidError(BrokerError):
    """Such a delivery mode cannot be promised here; the sentence says why and what can."""

    code = "delivery_mode_invalid"

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(problem)


class NotPersistentError(BrokerError):
    """A topic that stores nothing was asked for something that needs storage."""

    code = "not_persistent"

    def __init__(self, topic: str, option: str) -> None:
        self.topic, self.option = topic, option
        super().__init__(f"{topic!r} stores no messages, so it cannot do {option}. Set persistent=True for that.")


class ClaimLostError(BrokerError):
    """A claim was lost before it could be settled: its lease ran out and the delivery is another's now."""

    code = "claim_lost"

    def __init__(self, ack_ids: tuple[str, ...]) -> None:
        self.ack_ids = ack_ids
        super().__init__(f"{len(ack_ids)} claim(s) were lost: the lease ran out before they were settled.")


class PermissionDeniedError(BrokerError):
    """Whoever asked may not do this."""

    code = "permission_denied"

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(problem)


class EndpointRefusedError(BrokerError):
    """A webhook's URL points where the broker does not go."""

    code = "endpoint_refused"

    def __init__(self, url: str, problem: str) -> None:
        self.url, self.problem = url, problem
        super().__init__(f"{url}: {problem}")


class EndpointFailedError(BrokerError):
    """A webhook's endpoint answered, and not with success; ``retry_after`` is for how long it asks to be left alone."""

    code = "endpoint_failed"

    def __init__(self, status: int, said: str, retry_after: timedelta | None = None) -> None:
        self.status, self.said, self.retry_after = status, said, retry_after
        super().__init__(f"The endpoint answered {status}{said and ': '}{said}")


class HandlerTimeoutError(BrokerError):
    """A handler ran longer than its subscription's ``timeout``."""

    code = "handler_timeout"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"The handler ran longer than its timeout of {seconds:g} s.")


class Reject(Exception):  # noqa: N818 - a handler's verdict, not an error
    """Raise in a handler: this message can never be handled; dead-letter it now.

    ``reason`` is kept with the dead letter.
    """

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(reason)


class RetryAfter(Exception):  # noqa: N818 - a handler's verdict, not an error
    """Raise in a handler: try this message again after so many seconds (or a timedelta).

    It counts as an attempt like any failure; the wait replaces the policy's own.
    """

    def __init__(self, delay: float | timedelta) -> None:
        self.delay = delay if isinstance(delay, timedelta) else timedelta(seconds=delay)
        super().__init__(f"again in {self.delay.total_seconds():g} s")


class Nack(Exception):  # noqa: N818 - a subscriber's verdict, not an error
    """A puller hands a message back: it could not handle it this time."""

    def __init__(self) -> None:
        super().__init__("nacked")


class BatchFailures(Exception):  # noqa: N818 - a handler's verdict, not an error
    """Raise in a batch handler: these messages failed, by ack id; all others of the batch are acked."""

    def __init__(self, failures: Mapping[str, Exception]) -> None:
        self.failures = dict(failures)
        super().__init__(f"{len(self.failures)} message(s) of the batch failed")
