"""Write the rows of topics and subscriptions that were found to fit, under the lock of their topic.

Plainly: the verb bumps the topic's routing, once for all that it writes.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, Exists, OuterRef, Subquery, Value
from django.db.models.functions import Now
from django.utils import timezone

from datapunk_broker import signals
from datapunk_broker.conf import SubscriptionConfig, TopicConfig, get_config
from datapunk_broker.engine.configs import (
    binding_rows,
    columns,
    differing,
    memory_of,
    plain,
    subscription_config,
    topic_config,
)
from datapunk_broker.engine.kinds import ANY, BY_AGE, KEYED
from datapunk_broker.exceptions import (
    ConfigInvalidError,
    SubscriptionNotFoundError,
    TooManySubscribersError,
    TopicNotFoundError,
)
from datapunk_broker.models import Binding, Delivery, Message, Subscription, Topic
from datapunk_broker.states import Transport
from datapunk_broker.transports.webhook import new_secret

REROUTING = {"bindings", "ordering", "transport"}
"""Options of a subscription that publishers compile into their routes."""


RESTAMP_BATCH = 5_000

RESTAMP_FOR = timedelta(minutes=1)
"""For how long after a change of ``ordering`` the sweep looks for what was being published or settled meanwhile."""


def lock_topic(name: str, *, using: str) -> Topic:
    """Lock a live topic; publishers do not wait for it. Raises TopicNotFoundError."""
    topic = Topic.objects.using(using).live().named(name).select_for_update(no_key=True).first()
    if topic is None:
        raise TopicNotFoundError(name)
    return topic


def lock_subscription(name: str, *, using: str) -> Subscription:
    """Lock a live subscription, with its topic and bindings loaded. Raises SubscriptionNotFoundError."""
    rows = Subscription.objects.using(using).listed().select_for_update(no_key=True, of=("self",))
    found = rows.named(name).select_related("topic").prefetch_related("bindings").first()
    if found is None:
        raise SubscriptionNotFoundError(name)
    return found


def lock_with_topic(name: str, *, using: str) -> Subscription:
    """Lock a live subscription's topic and then the subscription. Raises SubscriptionNotFoundError."""
    named = Subscription.objects.using(using).listed().named(name)
    topics = Topic.objects.using(using).live().select_for_update(no_key=True)
    if topics.filter(pk__in=named.values("topic")).first() is None:
        raise SubscriptionNotFoundError(name)
    return lock_subscription(name, using=using)


def insert_topic(topic: Topic, *, using: str) -> None:
    """Insert a topic; raises ConfigInvalidError for a taken name, with nothing of the caller's undone."""
    try:
        with transaction.atomic(using=using):
            topic.save(using=using, force_insert=True)
    except IntegrityError:
        if not Topic.objects.using(using).live().filter(name=topic.name).exists():
            raise
        raise ConfigInvalidError("name", f"{topic.name!r} is the name of another topic") from None


def insert_subscriptions(
    wanted: Sequence[tuple[Topic, SubscriptionConfig]], *, declared: bool = False, using: str
) -> list[Subscription]:
    """Insert subscriptions of locked topics with their bindings, all or none; a bounded few statements.

    Raises TooManySubscribersError, or ConfigInvalidError for a name that is taken.
    """
    _check_room(Counter(topic for topic, _ in wanted), using)
    rows = [
        Subscription(
            name=config.name, topic=topic, **columns(_sealed(config)), declared=memory_of(config) if declared else None
        )
        for topic, config in wanted
    ]
    for row, (_, config) in zip(rows, wanted, strict=True):
        row.made_secret = "" if config.secret else row.secret
    try:
        with transaction.atomic(using=using):
            Subscription.plain.using(using).bulk_create(rows)
    except IntegrityError:
        names = [row.name for row in rows]
        live = Subscription.objects.using(using).live().filter(name__in=names)
        taken = live.values_list("name", flat=True).first()
        if taken is None:
            raise
        raise ConfigInvalidError("name", f"{taken!r} is the name of another subscription") from None
    bindings = [b for row, (_, config) in zip(rows, wanted, strict=True) for b in binding_rows(row, config)]
    Binding.plain.using(using).bulk_create(bindings)
    return rows


def _sealed(config: SubscriptionConfig) -> SubscriptionConfig:
    """Return a subscription with a secret, where it needs one and has none."""
    needs_one = config.transport is Transport.WEBHOOK and not config.secret
    return replace(config, secret=new_secret()) if needs_one else config


def _check_room(coming: Mapping[Topic, int], using: str) -> None:
    live = Subscription.objects.using(using).listed().filter(topic__in=[topic.pk for topic in coming])
    here = dict(live.order_by().values_list("topic_id").annotate(Count("pk")))
    for topic, count in coming.items():
        limit = get_config().max_subscribers if topic.max_subscribers is None else topic.max_subscribers
        if here.get(topic.pk, 0) + count > limit:
            raise TooManySubscribersError(topic.name, limit)


def change_topic(row: Topic, wanted: TopicConfig, *, using: str, **more: Any) -> set[str]:
    """Give a locked topic these options, and the columns in ``more``; return which options changed."""
    changed = set(differing(plain(topic_config(row)), plain(wanted)))
    _save(row, {name: value for name, value in columns(wanted).items() if name in changed} | more, using)
    return changed


def change_subscription(row: Subscription, wanted: SubscriptionConfig, *, using: str, **more: Any) -> set[str]:
    """Give a locked subscription these options, and the columns in ``more``; return which options changed.

    The caller bumps its topic's routing where they are REROUTING.
    """
    before, given, wanted = subscription_config(row), wanted.secret, _sealed(wanted)
    changed = set(differing(plain(before), plain(wanted)))
    if wanted.secret != before.secret:
        changed.add("secret")
        row.made_secret = "" if given else wanted.secret or ""
        # It goes on signing beside the new one, until the endpoint knows that.
        more["previous_secret"] = (before.secret or "") if wanted.secret else ""
    _save(row, {name: value for name, value in columns(wanted).items() if name in changed} | more, using)
    if "bindings" in changed:
        Binding.plain.using(using).filter(subscription=row).delete()
        Binding.plain.using(using).bulk_create(binding_rows(row, wanted))
        row.refresh_from_db(using=using, fields=["bindings"])
    if "ordering" in changed:
        Subscription.objects.using(using).filter(pk=row.pk).update(restamp_until=Now() + RESTAMP_FOR)
        restamp(row, using=using)
    return changed


def _save(row: Topic | Subscription, changes: Mapping[str, Any], using: str) -> None:
    if not changes:
        return
    written = {**changes, "updated_at": timezone.now()}
    for name, value in written.items():
        setattr(row, name, value)
    type(row).plain.using(using).filter(pk=row.pk).update(**written)


def restamp(subscription: Subscription, *, using: str) -> int:
    """Give a subscription's live deliveries the ordering key they should have; return how many had another.

    In the caller's transaction. One that is being settled right now is left out, and a publisher that routed before
    a change and commits after it brings in more: the sweep does it again.
    """
    live = Delivery.objects.using(using).of(subscription.pk)
    mine = live.filter(ANY)
    key: Subquery[Any] | Value
    if subscription.ordering:
        messages = Message.objects.using(using).filter(pk=OuterRef("message_id"), ordering_key__isnull=False)
        wrong, key = mine.filter(Exists(messages), ordering_key=None), Subquery(messages.values("ordering_key"))
    else:
        wrong, key = mine.filter(KEYED), Value(None)
    total = 0
    # Whoever settles locks in an order of its own, so this never waits for a row that another holds.
    while found := list(wrong.order_by(BY_AGE).locked(skip=True).values_list("pk", flat=True)[:RESTAMP_BATCH]):
        total += live.filter(pk__in=found).update(ordering_key=key)
    return total


def announce(topics: Iterable[str], *, sender: object, using: str) -> None:
    """Tell after the commit that these topics, or what is subscribed to them, changed."""
    for topic in topics:
        signals.announce_on_commit(signals.topology_changed, sender=sender, using=using, topic=topic)
