"""Move what a topic's stream is owed into the stream: contiguous positions, no late committer skipped."""

from dataclasses import dataclass

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from datapunk_broker import signals
from datapunk_broker.engine.kinds import PLAIN
from datapunk_broker.models import Delivery, StreamEntry, StreamHead, Subscription, Topic
from datapunk_broker.states import SubscriptionState, Transport

BATCH = 500


@dataclass(frozen=True, slots=True)
class Appended:
    """What one append did to one topic's stream: ``count`` messages, which now ends at ``head``."""

    topic: str
    count: int
    head: int


def append(*, using: str, batch: int = BATCH) -> list[Appended]:
    """Append once to every stream that is owed something, up to ``batch`` messages each.

    Delayed messages join when they are due. A stream that another pusher is appending to is left to it.
    """
    return [done for stream in _owed(using) if (done := _append_to(stream, batch, using))]


def _owed(using: str) -> list[Subscription]:
    ready = Delivery.objects.using(using).filter(PLAIN, subscription=OuterRef("pk"))
    streams = Subscription.objects.using(using).filter(transport=Transport.STREAM, state=SubscriptionState.ACTIVE)
    return list(streams.filter(Exists(ready)).select_related("topic"))


def _append_to(stream: Subscription, batch: int, using: str) -> Appended | None:
    with transaction.atomic(using=using):
        heads = StreamHead.objects.using(using).select_for_update(skip_locked=True)
        head = heads.filter(topic=stream.topic_id).first()
        if head is None:
            return None
        in_time = Q(expires_at=None) | Q(expires_at__gt=Now())
        owed = Delivery.objects.using(using).of(stream.pk).filter(PLAIN, in_time)
        picked = list(owed.locked(skip=True).order_by("-priority", "id").values_list("id", "message_id")[:batch])
        if not picked:
            return None
        StreamEntry.objects.using(using).bulk_create(
            StreamEntry(topic_id=head.topic_id, position=head.position + n, message_id=message, appended_at=Now())
            for n, (_, message) in enumerate(picked, start=1)
        )
        Delivery.objects.using(using).filter(pk__in=[delivery for delivery, _ in picked]).delete()
        head.position += len(picked)
        head.save(using=using, update_fields=["position"])
    topic: Topic = stream.topic
    signals.announce_on_commit(signals.appended, sender=append, using=using, topic=topic.name, head=head.position)
    return Appended(topic.name, len(picked), head.position)
