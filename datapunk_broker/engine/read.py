"""Read a topic's stream, position by position: no message that commits late is ever skipped."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from uuid import UUID

from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import Length

from datapunk_broker.engine.receive import LARGEST
from datapunk_broker.envelope import Headers
from datapunk_broker.exceptions import ConfigInvalidError, PayloadInvalidError, TopicNotFoundError
from datapunk_broker.models import Message, StreamEntry, Topic
from datapunk_broker.payload import decompress
from datapunk_broker.states import Encoding

LARGEST_READ = 1_000


@dataclass(frozen=True, slots=True)
class Streamed:
    """A message at its position. body: the published bytes."""

    position: int
    id: UUID
    topic: str
    body: bytes
    content_type: str
    routing_key: str
    headers: Headers
    priority: int
    ordering_key: str | None
    published_at: datetime
    correlation_id: str | None
    reply_to: str | None


@dataclass(frozen=True, slots=True)
class StreamPage:
    """Some of a stream, and where it begins and ends.

    oldest: the first position that is kept, ``head + 1`` when none is. head: the last position there is, 0 in a
    new stream. messages: those after the position asked for, in order and without a gap, save before the first:
    whoever asked for what follows ``after`` has missed something exactly when ``after + 1 < oldest``.
    """

    oldest: int
    head: int
    messages: tuple[Streamed, ...]


def read(topic: str, *, after: int, limit: int, max_bytes: int | None = None, using: str) -> StreamPage:
    """Return up to ``limit`` messages after a position, which is what was last seen; two statements.

    max_bytes: of bodies, and then a third statement; one message comes however large it is.
    Raises TopicNotFoundError; ConfigInvalidError for a topic without a stream, PayloadInvalidError for a position
    or limit out of range.
    """
    if not _is_whole(after) or not 0 <= after < 2**63:
        raise PayloadInvalidError("after", f"is {after!r}; a position is a whole number, 0 for the beginning")
    if not _is_whole(limit) or not 1 <= limit <= LARGEST_READ:
        raise PayloadInvalidError("limit", f"is {limit!r}; it is a whole number from 1 to {LARGEST_READ}")
    pk, oldest, head = ends_of(topic, using)
    kept = StreamEntry.objects.using(using).filter(topic=pk, position__gt=after).order_by("position")
    last = None if max_bytes is None else _last_within(kept[:limit], max_bytes)
    some = kept if last is None else kept.filter(position__lte=last)
    messages: list[Streamed] = []
    for entry in some.select_related("message")[:limit]:
        messages.append(_streamed(topic, entry.position, entry.message))
        if max_bytes is not None and (max_bytes := max_bytes - len(messages[-1].body)) < 0:
            break  # they were small only as stored
    return _page(after, oldest, head, messages)


def ends(topic: str, *, using: str) -> StreamPage:
    """Return where a topic's stream begins and ends; raises what ``read`` does."""
    _, oldest, head = ends_of(topic, using)
    return StreamPage(head + 1 if oldest is None else oldest, head, ())


def ends_of(topic: str, using: str) -> tuple[int, int | None, int]:
    """Return a topic's id, the oldest position that its stream keeps, if any, and the last there is.

    Raises TopicNotFoundError; ConfigInvalidError for a topic without a stream.
    """
    entries = StreamEntry.objects.order_by("position").filter(topic=OuterRef("pk"))
    found = Topic.objects.using(using).live().named(topic).annotate(oldest=Subquery(entries.values("position")[:1]))
    row = found.values_list("pk", "stream", "stream_head__position", "oldest").first()
    if row is None:
        raise TopicNotFoundError(topic)
    pk, is_on, head, oldest = row
    if not is_on or head is None:
        raise ConfigInvalidError("stream", f"is off for {topic!r}: nothing of it can be read by position")
    return pk, oldest, head


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _last_within(entries: QuerySet[StreamEntry], max_bytes: int) -> int | None:
    """Return the last position before whose end the bodies, as stored, have no more bytes than this."""
    sizes = list(entries.values_list("position", Length("message__body")))
    totals = accumulate(size for _, size in sizes)
    fitting = sum(total <= max_bytes for total in totals)
    return sizes[max(fitting, 1) - 1][0] if sizes else None


def _page(after: int, oldest: int | None, head: int, messages: Sequence[Streamed]) -> StreamPage:
    # The two statements are not one moment: the stream may have grown, or been pruned, between them.
    if messages:
        first, head = messages[0].position, max(head, messages[-1].position)
        oldest = first if oldest is None or first > after + 1 else min(oldest, first)
    elif oldest is None or after < head:
        oldest = head + 1
    return StreamPage(oldest, head, tuple(messages))


def _streamed(topic: str, position: int, message: Message) -> Streamed:
    return Streamed(
        position=position,
        id=message.pk,
        topic=topic,
        body=decompress(bytes(message.body), Encoding(message.encoding), limit=LARGEST),
        content_type=message.content_type,
        routing_key=message.routing_key,
        headers=message.headers,
        priority=message.priority,
        ordering_key=message.ordering_key,
        published_at=message.published_at,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
    )
