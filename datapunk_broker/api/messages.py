"""Messages: publish them, list those that are kept, and see what became of each."""

from uuid import UUID

from django.db.models import QuerySet
from django.db.models.functions import Length
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from datapunk_broker import rights
from datapunk_broker.api.deliveries import DeliveryPage, deliveries_of
from datapunk_broker.api.described import operation
from datapunk_broker.api.door import Door, rows
from datapunk_broker.api.filters import MessageFilters, filtered_messages
from datapunk_broker.api.message_shapes import ShownMessage, shown, weight_of
from datapunk_broker.api.pagination import Order, Page, Weight, page
from datapunk_broker.api.publishing import Publishing
from datapunk_broker.api.reading import asked
from datapunk_broker.api.topics import topic_for
from datapunk_broker.models import Message
from datapunk_broker.rights import Action, Somebody

NEWEST_FIRST = Order({"id": UUID}, descending=True)
WEIGHT = Weight(Length("body"), weight_of)


class MessagePage(Page, kw_only=True):
    """A page of messages, the newest first."""

    results: list[ShownMessage]


def message_for(user: Somebody, pk: UUID) -> Message:
    """Return the message, where somebody may read it; raises NotFound, or PermissionDeniedError."""
    found: QuerySet[Message] = rows(Message).filter(topic__deleted_at=None).select_related("topic")
    message = rights.visible_topics(user, found, prefix="topic").filter(pk=pk).first()
    if message is None:
        raise NotFound(f"No message is called {pk}.", "message_not_found")
    rights.require(user, Action.SUBSCRIBE, message.topic.name)
    return message


class TopicMessages(Publishing):
    """The messages of a topic."""

    room = "messages"

    @operation("list_messages", query=MessageFilters, answers={200: MessagePage})
    def get(self, request: Request, name: str) -> Response:
        """List the messages of a topic that are kept, the newest first."""
        topic = topic_for(request.user, Action.SUBSCRIBE, name)
        query = asked(request, MessageFilters)
        kept = filtered_messages(rows(Message).filter(topic=topic).select_related("topic"), query)
        return Response(page(request, kept, NEWEST_FIRST, query, shown, weight=WEIGHT))


class OneMessage(Door):
    """One message."""

    room = "messages"

    @operation("read_message", answers={200: ShownMessage})
    def get(self, request: Request, pk: UUID) -> Response:
        """Read a message."""
        return Response(shown(message_for(request.user, pk)))


class Deliveries(Door):
    """What became of one message."""

    room = "messages"

    @operation("list_deliveries", answers={200: DeliveryPage})
    def get(self, request: Request, pk: UUID) -> Response:
        """List what became of a message: a row for each subscription that it was routed to."""
        return Response(deliveries_of(message_for(request.user, pk)))
