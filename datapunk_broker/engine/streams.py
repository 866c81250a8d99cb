"""Keep the subscription behind each stream: there exactly while its topic streams and stores messages."""

from collections.abc import Sequence

from django.db.models.functions import Now

from datapunk_broker.engine.configs import is_persistent
from datapunk_broker.models import StreamHead, Subscription, Topic
from datapunk_broker.states import SubscriptionState, Transport


def keep_streams(topics: Sequence[Topic], *, using: str) -> set[int]:
    """Make or tombstone the streams of these locked topics as their options say; return whose changed, by id.

    The caller bumps the routing of those. The head outlives a stream that is switched off: one that is switched
    on again goes on where it ended, so that no reader's position ever comes to mean another message.
    """
    streams = Subscription.plain.using(using).live().filter(transport=Transport.STREAM)
    kept = dict(streams.filter(topic__in=[topic.pk for topic in topics]).values_list("topic_id", "pk"))
    wanted = {topic.pk: topic for topic in topics if topic.stream and is_persistent(topic)}
    missing = [topic for pk, topic in wanted.items() if pk not in kept]
    surplus = {topic: stream for topic, stream in kept.items() if topic not in wanted}
    if missing:
        _make(missing, using)
    if surplus:
        streams.filter(pk__in=surplus.values()).update(
            state=SubscriptionState.DELETED, deleted_at=Now(), updated_at=Now()
        )
    return {topic.pk for topic in missing} | set(surplus)


def _make(topics: Sequence[Topic], using: str) -> None:
    Subscription.plain.using(using).bulk_create(
        Subscription(topic=topic, name=f"stream:{topic.name}", transport=Transport.STREAM) for topic in topics
    )
    StreamHead.objects.using(using).bulk_create((StreamHead(topic=t) for t in topics), ignore_conflicts=True)
