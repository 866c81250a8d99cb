"""Publish: one message or many, in our own JSON or as CloudEvents."""

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db import transaction
from msgspec import Struct
from rest_framework.exceptions import APIException, UnsupportedMediaType
from rest_framework.request import Request
from rest_framework.response import Response

from datapunk_broker import broker, rights, signals
from datapunk_broker.api import cloudevents_http
from datapunk_broker.api.cloudevents_schema import EVENT, EVENTS
from datapunk_broker.api.described import operation
from datapunk_broker.api.door import Door, rows
from datapunk_broker.api.envelopes import LARGEST_BATCH, Batch, Envelope, read_batch, read_with_payload
from datapunk_broker.api.problems import code_of
from datapunk_broker.api.reading import body_of, is_form, media_type_of
from datapunk_broker.api.topics import seen_topic
from datapunk_broker.conf import get_config
from datapunk_broker.envelope import Outgoing, Receipt
from datapunk_broker.exceptions import PayloadInvalidError, TopicNotFoundError
from datapunk_broker.models import Topic
from datapunk_broker.observability.names import UNKNOWN
from datapunk_broker.rights import Action

EVENT_TYPE, EVENTS_TYPE = "application/cloudevents", "application/cloudevents-batch"
IDEMPOTENCY_KEY = "Idempotency-Key"

BODIES: dict[str, Any] = {"application/json": Envelope, f"{EVENT_TYPE}+json": EVENT, f"{EVENTS_TYPE}+json": EVENTS}
BATCHES: dict[str, Any] = {"application/json": Batch, f"{EVENTS_TYPE}+json": EVENTS}
HEADERS = {IDEMPOTENCY_KEY: "The same key again in this topic is the first message again; not for CloudEvents."}
PROBLEMS = {409: "the bindings kept changing", 422: "the payload does not fit the topic's schema"}


class Published(Struct):
    """A message that was stored; or the first one with its idempotency key, when that was used before."""

    id: UUID
    topic: str
    deliveries: int
    duplicate: bool


class PublishedBatch(Struct):
    """The messages of a batch, in its order."""

    messages: list[Published]


@dataclass(frozen=True, slots=True)
class Incoming:
    """What a request publishes. are_events: their keys come with the format, and are not asked for."""

    messages: Sequence[Outgoing[Any]]
    are_events: bool = False
    are_many: bool = False


class PublishingDoor(Door):
    """Publishes to a topic, and announces what it refuses before the broker, which announces its own, hears of it."""

    room = "messages"
    is_with_broker = False

    def handle_exception(self, exc: Exception) -> Response:
        code = code_of(exc)
        # Whoever sends a form stays unknown: to look for its CSRF token, Django would parse it.
        if code and self.request.method == "POST" and not self.is_with_broker and not is_form(self.request):
            self._announce(code)
        return super().handle_exception(exc)

    def published(self, request: Request, topic: str, incoming: Incoming) -> Response:
        # A reply is published on behalf of who asks for it.
        for answers in {message.reply_to for message in incoming.messages} - {None, topic}:
            rights.require(request.user, Action.PUBLISH, str(answers))
        self.is_with_broker = True
        with transaction.atomic(using=get_config().database) if incoming.are_many else nullcontext():
            receipts = broker.publish_many(topic, _fit_for(topic, incoming))
        shown = [_shown(receipt) for receipt in receipts]
        if incoming.are_many:
            return Response(PublishedBatch(shown), 201)
        return Response(shown[0], 200 if shown[0].duplicate else 201)

    def _announce(self, code: str) -> None:
        """Tell that somebody was refused, if it is known who; the topic is named if they may see it."""
        with suppress(APIException):
            if self.request.user.is_authenticated:
                try:
                    topic = seen_topic(self.request.user, self.kwargs["name"]).name
                except TopicNotFoundError:
                    topic = UNKNOWN
                signals.announce(signals.publish_refused, sender=type(self), topic=topic, code=code)


class Publishing(PublishingDoor):
    """Publishes to a topic."""

    @operation(
        "publish",
        body=BODIES,
        headers=HEADERS,
        answers={200: Published, 201: (Published, PublishedBatch)},
        problems=PROBLEMS,
        links={key: {"id": "/id"} for key in ("read_message", "list_deliveries")},
    )
    def post(self, request: Request, name: str) -> Response:
        """Publish a message: 200 when it is a duplicate. CloudEvents in binary mode have their data as the body."""
        rights.require(request.user, Action.PUBLISH, name)
        return self.published(request, name, _incoming(request))


class BatchPublishing(PublishingDoor):
    """Publishes many at once."""

    @operation("publish_batch", body=BATCHES, answers={201: PublishedBatch}, problems=PROBLEMS)
    def post(self, request: Request, name: str) -> Response:
        """Publish up to 1,000 messages, all or none."""
        rights.require(request.user, Action.PUBLISH, name)
        return self.published(request, name, _incoming_batch(request))


def _incoming(request: Request) -> Incoming:
    """Read what a request publishes; its Content-Type says how."""
    kind = media_type_of(request)
    if kind.startswith(EVENTS_TYPE):
        return _incoming_batch(request)
    if kind.startswith(EVENT_TYPE):
        _check_format(kind, EVENT_TYPE, f"{EVENT_TYPE}+json")
        return Incoming([cloudevents_http.structured(body_of(request)).outgoing()], are_events=True)
    if cloudevents_http.has_event_headers(request.META):
        return Incoming([cloudevents_http.binary(request.META, body_of(request)).outgoing()], are_events=True)
    _check_format(kind, "application/json")
    return Incoming([read_with_payload(body_of(request), Envelope).outgoing(_idempotency_key(request))])


def _incoming_batch(request: Request) -> Incoming:
    kind = media_type_of(request)
    if kind.startswith(EVENTS_TYPE):
        _check_format(kind, EVENTS_TYPE, f"{EVENTS_TYPE}+json")
        events = [event.outgoing() for event in cloudevents_http.batch(body_of(request))]
        return Incoming(_few(events), are_events=True, are_many=True)
    _check_format(kind, "application/json")
    if IDEMPOTENCY_KEY in request.headers:
        raise PayloadInvalidError(IDEMPOTENCY_KEY, "is for one message; give each of a batch its idempotency_key")
    return Incoming([envelope.outgoing() for envelope in read_batch(body_of(request))], are_many=True)


def _check_format(kind: str, *known: str) -> None:
    if kind not in known:
        raise UnsupportedMediaType(kind or "none", f"Send the body as {' or '.join(BODIES)}, not as {kind or 'none'}.")


def _few(events: Sequence[Outgoing[Any]]) -> Sequence[Outgoing[Any]]:
    if len(events) > LARGEST_BATCH:
        raise PayloadInvalidError("body", f"has {len(events)} events; {LARGEST_BATCH} at most")
    return events


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get(IDEMPOTENCY_KEY)
    try:
        return key and key.encode("latin-1").decode()
    except UnicodeError:
        raise PayloadInvalidError(IDEMPOTENCY_KEY, "is not UTF-8") from None


def _fit_for(topic: str, incoming: Incoming) -> Sequence[Outgoing[Any]]:
    """Return what is published: a topic that stores nothing cannot know an event again."""
    if incoming.are_events and not _is_kept(topic):
        return [replace(message, idempotency_key=None) for message in incoming.messages]
    return incoming.messages


def _is_kept(topic: str) -> bool:
    own = rows(Topic).filter(name=topic, deleted_at=None).values_list("persistent", flat=True).first()
    return get_config().enable_persistence if own is None else own


def _shown(receipt: Receipt) -> Published:
    return Published(receipt.message_id, receipt.topic, receipt.deliveries, receipt.duplicate)
