"""What the frames of both sides are made of."""

from datetime import datetime
from enum import IntEnum
from typing import Annotated

from msgspec import Meta

from datapunk_broker.exceptions import BrokerError

SUBPROTOCOL = "datapunk.v1.json"

CENTURY = 36_525 * 86_400.0
"""Seconds; no wait or lease is longer."""


class CloseCode(IntEnum):
    """Why the server closes a socket; from 4500 on it is no use to come again as one is."""

    DRAINING = 4001
    TOO_SLOW = 4008
    NO_PONG = 4012
    RATE = 4013
    RIGHTS_CHANGED = 4014
    BAD_TOKEN = 4500
    BAD_FRAME = 4501
    NO_HELLO = 4502
    TOO_MANY_SUBSCRIPTIONS = 4505
    FORBIDDEN = 4507

    @property
    def reconnect(self) -> bool:
        """Whether the client may come again."""
        return self < 4500  # noqa: PLR2004 - the contract's border


class FrameInvalidError(BrokerError):
    """A frame that is not one of the protocol's; the socket closes."""

    code = "frame_invalid"

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(problem)


Id = Annotated[str, Meta(max_length=100)] | Annotated[int, Meta(ge=-(2**53), le=2**53)]
"""What a client names its subscriptions and publishes by; it comes back as it was given."""

AckIds = Annotated[list[Annotated[str, Meta(max_length=100)]], Meta(max_length=1_000)]
Credit = Annotated[int, Meta(ge=0)]
Position = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Seconds = Annotated[float, Meta(ge=0, le=CENTURY)]
Moment = Annotated[datetime, Meta(tz=True)] | Annotated[float, Meta(ge=0, lt=253_402_300_800)]
"""A time with its zone, or seconds since 1970."""
