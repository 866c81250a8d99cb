"""What the pump and a transport say to each other."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from datapunk_broker.envelope import Received


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a webhook goes. secrets: sign what goes there, the newest first; none is ever shown."""

    url: str
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """Messages of one subscription to take to its subscriber, in this order.

    timeout: seconds each call may run. lease_end: on the monotonic clock; a call begins only when it can end
    before that. goes_on: asked before each call whether there is to be one.
    ordered: messages with one ordering key are taken one after the other. holds_back: where one of them fails,
    those behind it are not started: it comes again, and they after it.
    one_at_a_time: no two calls are under way at once. endpoint: a webhook's.
    """

    subscription: str
    topic: str
    handler: str
    batch: bool
    batch_size: int
    timeout: float
    lease_end: float
    ordered: bool
    holds_back: bool
    one_at_a_time: bool
    goes_on: Callable[[], bool]
    messages: Sequence[Received[Any]]
    endpoint: Endpoint | None = None

    def fits(self) -> bool:
        """Return whether there is to be one more call: what is left of the lease covers it, and nothing stops it."""
        return time.monotonic() + self.timeout <= self.lease_end and self.goes_on()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message: handled, failed with an error, or not started.

    reply: what the handler returned. shared: it failed together with others, whichever of them is at fault.
    interrupted: the worker was stopped in the middle of the call, so nobody knows.
    """

    ack_id: str
    error: Exception | None = None
    started: bool = True
    reply: Any = None
    shared: bool = False
    interrupted: bool = False


Report = Callable[[Outcome], None]


class Transport(Protocol):
    """Takes errands."""

    def payload_type(self, subscription: str, topic: str, handler: str, *, batch: bool) -> Any:
        """Return what payloads are made into for this subscriber.

        Raises ConfigInvalidError when this process cannot serve it.
        """

    def deliver(self, errand: Errand, report: Report) -> None:
        """Report one outcome for each message of the errand, as soon as it is known, in the caller's thread.

        Nothing is raised for a message. What ends the process is passed on, once the outcomes that are known
        are reported, and those of the calls it cut short as ``interrupted``.
        """
