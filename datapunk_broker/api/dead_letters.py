"""Dead letters: list, read and discard them."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import Length
from msgspec import UNSET, Meta, UnsetType
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from datapunk_broker import broker, rights
from datapunk_broker.api.deliveries import said
from datapunk_broker.api.described import operation
from datapunk_broker.api.door import Door, rows
from datapunk_broker.api.filters import DeadLetterFilters, filtered_letters
from datapunk_broker.api.message_shapes import Body, body_shown, weight_of
from datapunk_broker.api.moments import Moment
from datapunk_broker.api.pagination import Order, Page, Weight, page
from datapunk_broker.api.reading import asked
from datapunk_broker.models import DeadLetter, Message, Topic
from datapunk_broker.models.dead_letter import OPEN
from datapunk_broker.rights import Action, Managing, Right, Somebody
from datapunk_broker.states import FailureReason

Id = Annotated[int, Meta(ge=1, le=2**63 - 1)]
LINKS = {key: {"id": "/results/0/id"} for key in ("read_dead_letter", "discard_dead_letter")}
LATEST_FIRST = Order({"dead_at": Moment, "id": Id}, descending=True)
BODIES = Message.objects.filter(pk=OuterRef("message_id")).values(size=Length("body"))
WEIGHT = Weight(Subquery(BODIES), weight_of)


class ShownDeadLetter(Body, kw_only=True):
    """A delivery that was given up; ``message`` is the id of the message, ``redrives`` how often it was redriven."""

    id: int
    topic: str
    subscription: str
    message: UUID
    reason: FailureReason
    error: str
    attempts: int
    redrives: int
    first_failed_at: datetime
    dead_at: datetime
    traceback: str | UnsetType = UNSET


class DeadLetterPage(Page, kw_only=True):
    """A page of dead letters, the latest first."""

    results: list[ShownDeadLetter]


def shown(letter: DeadLetter, **more: Any) -> ShownDeadLetter:
    """Return a dead letter (its topic, subscription and message are loaded)."""
    members = {name: getattr(letter, name) for name in ("id", "reason", "attempts", "redrives")}
    return ShownDeadLetter(
        **members,
        **more,
        **body_shown(letter.message),
        topic=letter.topic.name,
        subscription=letter.subscription.name,
        message=letter.message_id,
        error=said(letter),
        first_failed_at=letter.first_failed_at,
        dead_at=letter.dead_at,
    )


def kept(user: Somebody, action: Right | None = None) -> QuerySet[DeadLetter]:
    """Return the open dead letters of the topics that somebody may see, or do this with.

    By the topics' ids: a join with them would cost the order that the indexes have.
    """
    topics = rows(Topic)
    some = rows(DeadLetter).filter(OPEN).select_related("topic", "subscription", "message")
    seen = rights.visible_topics(user, topics, action=action)
    if seen is topics:
        return some.exclude(topic__in=topics.exclude(deleted_at=None))
    return some.filter(topic__in=list(seen.filter(deleted_at=None).values_list("pk", flat=True)))


def letter_for(user: Somebody, action: Right, pk: int) -> DeadLetter:
    """Return the dead letter, where somebody may do this; raises NotFound or PermissionDeniedError."""
    letter = kept(user).filter(pk=pk).first()
    if letter is None:
        raise NotFound(f"No dead letter has the id {pk}.", "dead_letter_not_found")
    rights.require(user, action, letter.topic.name)
    return letter


class DeadLetters(Door):
    """All dead letters."""

    room = "dead letters"

    @operation("list_dead_letters", query=DeadLetterFilters, answers={200: DeadLetterPage}, links=LINKS)
    def get(self, request: Request) -> Response:
        """List the dead letters that one may read, the latest first."""
        query = asked(request, DeadLetterFilters)
        found = filtered_letters(kept(request.user, Action.SUBSCRIBE), query)
        return Response(page(request, found, LATEST_FIRST, query, shown, weight=WEIGHT))


class OneDeadLetter(Door):
    """One dead letter."""

    room = "dead letters"

    @operation("read_dead_letter", answers={200: ShownDeadLetter})
    def get(self, request: Request, pk: int) -> Response:
        """Read a dead letter, with its traceback."""
        letter = letter_for(request.user, Action.SUBSCRIBE, pk)
        return Response(shown(letter, traceback=letter.traceback))

    @operation("discard_dead_letter", answers={204: None})
    def delete(self, request: Request, pk: int) -> Response:
        """Throw a dead letter away."""
        letter = letter_for(request.user, Managing.DISCARD, pk)
        broker.discard(rows(DeadLetter).filter(pk=letter.pk))
        return Response(status=204)
