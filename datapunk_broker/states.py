"""The closed vocabularies of the broker: every kind, mode, state and reason, by its stored value."""

from enum import StrEnum


class TopicType(StrEnum):
    """How a topic chooses the subscriptions that get a message (the exchange types of AMQP 0-9-1)."""

    FANOUT = "fanout"
    DIRECT = "direct"
    TOPIC = "topic"
    HEADERS = "headers"


class DeliveryMode(StrEnum):
    """What a subscription is promised when something breaks between claim and settle."""

    AT_LEAST_ONCE = "at_least_once"
    AT_MOST_ONCE = "at_most_once"
    EXACTLY_ONCE = "exactly_once"


class SubscriptionMode(StrEnum):
    """How messages reach the subscriber: one by one, in lists, or as a flow it grants credit for."""

    INDIVIDUAL = "individual"
    BATCH = "batch"
    STREAMING = "streaming"


class Transport(StrEnum):
    """Who takes a delivery to the subscriber; ``stream`` is the broker's own."""

    HANDLER = "handler"
    WEBHOOK = "webhook"
    PULL = "pull"
    STREAM = "stream"


class SubscriptionState(StrEnum):
    """``paused`` keeps and waits, ``disabled`` was stopped by the broker, ``deleted`` is a tombstone."""

    ACTIVE = "active"
    PAUSED = "paused"
    DISABLED = "disabled"
    DELETED = "deleted"


class DeliveryState(StrEnum):
    """The states of a live delivery; a settled one is a row of the history instead."""

    SCHEDULED = "scheduled"
    READY = "ready"
    CLAIMED = "claimed"


class Settled(StrEnum):
    """How a delivery ended."""

    ACKED = "acked"
    DEAD = "dead"
    EXPIRED = "expired"
    DROPPED = "dropped"


class FailureReason(StrEnum):
    """Why an attempt failed or a delivery died."""

    VALIDATION_ERROR = "validation_error"
    PROCESSING_ERROR = "processing_error"
    TIMEOUT = "timeout"
    DEPENDENCY_ERROR = "dependency_error"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    OVERFLOW = "overflow"
    REJECTED = "rejected"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    LEASE_LOST = "lease_lost"


class RetryStrategy(StrEnum):
    """How the wait grows from one attempt to the next."""

    FIXED = "fixed"
    EXPONENTIAL = "exponential"
    LINEAR = "linear"
    RANDOM = "random"
    FIBONACCI = "fibonacci"


class Overflow(StrEnum):
    """What gives way when a subscription's backlog reaches its limit."""

    REJECT = "reject"
    DROP_OLDEST = "drop_oldest"
    DEAD_LETTER_OLDEST = "dead_letter_oldest"


class BreakerState(StrEnum):
    """Whether a subscription's deliveries flow, wait, or send one probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Encoding(StrEnum):
    """How a stored body is encoded."""

    IDENTITY = "identity"
    ZSTD = "zstd"
