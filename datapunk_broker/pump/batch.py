"""Claimed deliveries of one subscription, on their way to its subscriber."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from datapunk_broker.engine.hold import Key
from datapunk_broker.engine.receive import receive
from datapunk_broker.engine.roster import Subscriber
from datapunk_broker.engine.rows import Claimed
from datapunk_broker.envelope import Received, claim_of
from datapunk_broker.states import DeliveryMode, SubscriptionMode
from datapunk_broker.transports import Errand, Transport

Message = Received[Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """One claim of one subscription. lease_end: on the monotonic clock, when the claim ends."""

    subscriber: Subscriber
    rows: Sequence[Claimed]
    transport: Transport
    lease_end: float
    using: str

    @property
    def is_batch(self) -> bool:
        """Whether the subscriber takes its messages in lists."""
        return self.subscriber.mode == SubscriptionMode.BATCH

    @property
    def keys(self) -> list[Key]:
        """The claims."""
        return [row.key for row in self.rows]

    def errand(
        self, messages: Sequence[Message], goes_on: Callable[[], bool], *, lease_end: float | None = None
    ) -> Errand:
        """Return the errand that takes some of the batch's messages; ``lease_end``: another than the claim's."""
        subscriber = self.subscriber
        return Errand(
            subscription=subscriber.name,
            topic=subscriber.topic,
            handler=subscriber.handler,
            batch=self.is_batch,
            batch_size=subscriber.batch_size,
            timeout=subscriber.timeout,
            lease_end=self.lease_end if lease_end is None else lease_end,
            ordered=subscriber.ordering,
            holds_back=subscriber.delivery_mode != DeliveryMode.AT_MOST_ONCE,
            one_at_a_time=subscriber.delivery_mode == DeliveryMode.EXACTLY_ONCE,
            goes_on=goes_on,
            messages=messages,
            endpoint=subscriber.endpoint,
        )

    def open(self) -> tuple[list[Message], dict[Key, Exception]]:
        """Return the messages, decoded, and the errors of those that cannot be."""
        to = self.subscriber
        kind = self.transport.payload_type(to.name, to.topic, to.handler, batch=self.is_batch)
        messages: list[Message] = []
        unreadable: dict[Key, Exception] = {}
        for row in self.rows:
            try:
                messages.append(receive(row, self.subscriber, kind))
            except Exception as error:  # noqa: BLE001 - the subscriber's own type may raise anything
                unreadable[row.key] = error
        return messages, unreadable


def key_of(message: Message) -> Key:
    """Return the claim of a message that the pump received."""
    return key_in(message.ack_id)


def key_in(ack_id: str) -> Key:
    """Return the claim that one of the broker's own ack ids names."""
    key = claim_of(ack_id)
    if key is None:
        raise ValueError(ack_id)
    return key
