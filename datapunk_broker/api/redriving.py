"""Deliver dead letters again: those that are named, or those that a filter describes."""

from collections.abc import Sequence
from typing import Annotated, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from msgspec import UNSET, Meta, Raw, Struct, UnsetType
from rest_framework.request import Request
from rest_framework.response import Response

from datapunk_broker import broker, rights
from datapunk_broker.api.dead_letters import Id, kept
from datapunk_broker.api.described import operation
from datapunk_broker.api.door import Door
from datapunk_broker.api.envelopes import read_with_payload
from datapunk_broker.api.filters import Which, filtered_letters
from datapunk_broker.api.reading import parsed
from datapunk_broker.api.subscriptions import subscription_for
from datapunk_broker.api.topics import topic_for
from datapunk_broker.models import DeadLetter
from datapunk_broker.rights import Managing, Somebody


class Redrive(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters, by their ids or a filter.

    payload: published in place of theirs. rate: at most so many a second. dry_run: only say what would be done.
    """

    EITHER: ClassVar = ("ids", "filter")

    ids: Annotated[list[Id], Meta(max_length=1000)] | UnsetType = UNSET
    filter: Which | UnsetType = UNSET
    payload: Raw | UnsetType = UNSET
    rate: Annotated[float, Meta(gt=0)] | None = None
    dry_run: bool = False


class Redriven(Struct):
    """How many are delivered again, and as which messages; skipped: the ids of those that cannot be any more."""

    count: int
    message_ids: list[UUID]
    skipped: list[int]


class RedriveThem(Door):
    """Redrive."""

    room = "dead letters"

    @operation(
        "redrive_dead_letters", body=Redrive, answers={200: Redriven}, problems={422: "the payload does not fit"}
    )
    def post(self, request: Request) -> Response:
        """Deliver dead letters again, as they were or with another payload."""
        given = parsed(request, Redrive, read_with_payload)
        letters, unknown = _chosen(request.user, given)
        payload = None if given.payload is UNSET else given.payload
        done = broker.redrive(letters, payload, dry_run=given.dry_run, rate=given.rate)
        return Response(Redriven(done.count, list(done.message_ids), [*done.skipped, *unknown]))


def _chosen(user: Somebody, given: Redrive) -> tuple[QuerySet[DeadLetter], Sequence[int]]:
    """Return the dead letters that are meant, and the ids that are none."""
    if given.filter is UNSET:
        return _named(user, [] if given.ids is UNSET else given.ids)
    return _described(user, given.filter), ()


def _named(user: Somebody, ids: Sequence[int]) -> tuple[QuerySet[DeadLetter], Sequence[int]]:
    letters = kept(user).filter(pk__in=ids)
    topics = dict(letters.values_list("pk", "topic__name"))
    for topic in sorted(set(topics.values())):
        rights.require(user, Managing.REDRIVE, topic)
    return letters, [pk for pk in dict.fromkeys(ids) if pk not in topics]


def _described(user: Somebody, which: Which) -> QuerySet[DeadLetter]:
    if which.topic is not UNSET:
        topic_for(user, Managing.REDRIVE, which.topic)
    if which.subscription is not UNSET:
        subscription_for(user, Managing.REDRIVE, which.subscription)
    return filtered_letters(kept(user, Managing.REDRIVE), which)
