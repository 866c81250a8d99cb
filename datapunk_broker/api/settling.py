"""Settle what was pulled, by ack id."""

from typing import Annotated, ClassVar

from msgspec import Meta, Struct
from rest_framework.request import Request
from rest_framework.response import Response

from datapunk_broker import broker
from datapunk_broker.api.described import operation
from datapunk_broker.api.door import Door
from datapunk_broker.api.fields import Seconds, Text
from datapunk_broker.api.reading import parsed
from datapunk_broker.api.subscriptions import subscription_for
from datapunk_broker.envelope import Settlement
from datapunk_broker.rights import Action

LONGEST_LEASE = 7 * 86_400.0
"""Seconds."""

AckId = Annotated[str, Meta(max_length=200)]


class AckIds(Struct, kw_only=True, forbid_unknown_fields=True):
    """What was pulled; an ack id that names no current claim, whatever it looks like, comes back as lost."""

    ack_ids: Annotated[list[AckId], Meta(max_length=1000)]


class Nacked(AckIds, kw_only=True, forbid_unknown_fields=True):
    """What failed; again after ``delay``, or when the retry policy says."""

    delay: Seconds | None = None


class Rejected(AckIds, kw_only=True, forbid_unknown_fields=True):
    """What can never be handled, and why."""

    reason: Annotated[Text, Meta(max_length=2000)] = ""


class Extended(AckIds, kw_only=True, forbid_unknown_fields=True):
    """What to keep for ``by`` from now."""

    by: Annotated[float, Meta(gt=0, le=LONGEST_LEASE)]


class Settled(Struct):
    """The ack ids that were settled, and those whose claim was lost."""

    settled: list[str]
    lost: list[str]


class Settling(Door):
    """A verb for the claims of one subscription."""

    room: ClassVar[str] = "settling"

    def done(self, settlement: Settlement) -> Response:
        return Response(Settled(list(settlement.settled), list(settlement.lost)))


class Ack(Settling):
    """Ack."""

    @operation("ack", body=AckIds, answers={200: Settled})
    def post(self, request: Request, name: str) -> Response:
        """Settle messages as handled."""
        subscription_for(request.user, Action.SUBSCRIBE, name)
        return self.done(broker.ack(parsed(request, AckIds).ack_ids, subscription=name))


class NackThem(Settling):
    """Nack."""

    @operation("nack", body=Nacked, answers={200: Settled})
    def post(self, request: Request, name: str) -> Response:
        """Hand failed messages back: again later, or a dead letter when that was the last attempt."""
        subscription_for(request.user, Action.SUBSCRIBE, name)
        given = parsed(request, Nacked)
        return self.done(broker.nack(given.ack_ids, given.delay, subscription=name))


class RejectThem(Settling):
    """Reject."""

    @operation("reject", body=Rejected, answers={200: Settled})
    def post(self, request: Request, name: str) -> Response:
        """Make dead letters of messages that can never be handled."""
        subscription_for(request.user, Action.SUBSCRIBE, name)
        given = parsed(request, Rejected)
        return self.done(broker.reject(given.ack_ids, given.reason, subscription=name))


class Extend(Settling):
    """Extend."""

    @operation("extend", body=Extended, answers={200: Settled})
    def post(self, request: Request, name: str) -> Response:
        """Keep messages for longer."""
        subscription_for(request.user, Action.SUBSCRIBE, name)
        given = parsed(request, Extended)
        return self.done(broker.extend(given.ack_ids, given.by, subscription=name))
