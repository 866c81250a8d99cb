"""Give a puller its next messages, and settle what it sends back by ack id."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction

from datapunk_broker.conf import get_config
from datapunk_broker.conf.options import whole
from datapunk_broker.engine.claim import claim, claim_guarded, claim_probe, claim_suspect, suspect_is_next
from datapunk_broker.engine.fail import note
from datapunk_broker.engine.hold import Key, extend, release
from datapunk_broker.engine.kinds import with_ready
from datapunk_broker.engine.receive import receive
from datapunk_broker.engine.roster import Subscriber, resolve, subscribers
from datapunk_broker.engine.rows import Claimed, Wanted
from datapunk_broker.engine.settle import Verdicts, settle
from datapunk_broker.envelope import Received, Settlement, ack_id_of, claim_of
from datapunk_broker.exceptions import ConfigInvalidError, SubscriptionNotFoundError
from datapunk_broker.models import Delivery, Subscription
from datapunk_broker.states import DeliveryMode, SubscriptionState, Transport

LARGEST_PULL = 1_000
LONGEST_LEASE = timedelta(days=7)

_pull_size = whole(1, LARGEST_PULL)

Do = Callable[[Sequence[Key], Mapping[int, Subscriber]], Collection[Key]]
"""Does something to claims and returns those that were still held."""


def pull(name: str, *, max_messages: int, payload_type: Any = Any, using: str) -> list[Received[Any]]:
    """Claim up to ``max_messages`` for their ack deadline; at most once, they are acked already.

    payload_type: what the payloads are made into, as ``receive`` takes it.
    One whose claim lapsed twice is given alone. Raises SubscriptionNotFoundError, ConfigInvalidError.
    """
    _pull_size("max_messages", max_messages)
    subscriber = _puller(name, using)
    if subscriber.delivery_mode != DeliveryMode.AT_MOST_ONCE:
        return _opened(_claim(subscriber, max_messages, using), subscriber, payload_type, using)
    with transaction.atomic(using=using):
        rows = _claim(subscriber, max_messages, using)
        settle(Verdicts(acked=[row.key for row in rows]), {subscriber.id: subscriber}, using=using)
    return _opened(rows, subscriber, payload_type, using)


def settle_pulled(
    ack_ids: Iterable[str], error: Exception | None = None, *, subscription: str | None = None, using: str
) -> Settlement:
    """Ack what was pulled, or with an error fail it; ``subscription``: only what is its own.

    An ack id that names no current claim, whatever it looks like, is lost.
    """

    def settled(keys: Sequence[Key], roster: Mapping[int, Subscriber]) -> Collection[Key]:
        verdicts = Verdicts(acked=keys) if error is None else Verdicts(failed=dict.fromkeys(keys, error))
        return settle(verdicts, roster, using=using)

    return _each_held(ack_ids, settled, subscription, using)


def extend_pulled(ack_ids: Iterable[str], by: timedelta, *, subscription: str | None = None, using: str) -> Settlement:
    """Lease what was pulled for ``by`` from now, up to LONGEST_LEASE. Raises ConfigInvalidError."""
    if not timedelta(0) <= by <= LONGEST_LEASE:
        raise ConfigInvalidError("by", f"is {by}; it goes from 0 to {LONGEST_LEASE}")
    return _each_held(ack_ids, lambda keys, _: extend(keys, by, using=using), subscription, using)


def release_pulled(ack_ids: Iterable[str], *, subscription: str | None = None, using: str) -> Settlement:
    """Hand back, unharmed, what was pulled and never looked at."""
    return _each_held(ack_ids, lambda keys, _: release(keys, using=using), subscription, using)


def with_messages(names: Collection[str], *, using: str) -> set[str]:
    """Return which of these subscriptions are active and have ready messages; one statement."""
    rows = Subscription.objects.listed().named(*names).filter(state=SubscriptionState.ACTIVE)
    return {str(name) for name in with_ready(rows, "name", using=using)}


def _puller(name: str, using: str) -> Subscriber:
    rows = Subscription.objects.using(using).listed().select_related("topic")
    row = rows.named(name).first()
    if row is None:
        raise SubscriptionNotFoundError(name)
    if row.transport != Transport.PULL:
        problem = f"of {name!r} is {row.transport!r}: its messages are brought to it and cannot be pulled as well"
        raise ConfigInvalidError("transport", problem)
    return resolve(row, get_config())


def _claim(subscriber: Subscriber, count: int, using: str) -> list[Claimed]:
    if not subscriber.breaker_closed:
        return claim_probe(subscriber, using=using)
    if subscriber.guarded:
        return claim_guarded(subscriber, count, using=using)
    wanted = [Wanted(subscriber.id, count, subscriber.lease)]
    steps = [lambda: claim(wanted, limit=count, using=using), lambda: claim_suspect(subscriber, using=using)]
    if suspect_is_next():
        steps.reverse()
    return steps[0]() or steps[1]()


def _opened(rows: list[Claimed], subscriber: Subscriber, payload_type: Any, using: str) -> list[Received[Any]]:
    messages: list[Received[Any]] = []
    unreadable: list[tuple[Claimed, Exception]] = []
    for row in rows:
        try:
            messages.append(receive(row, subscriber, payload_type))
        except Exception as error:  # noqa: BLE001 - the puller's own type may raise anything
            unreadable.append((row, error))
    if unreadable:
        _refuse(unreadable, subscriber, using)
    return messages


def _refuse(unreadable: Sequence[tuple[Claimed, Exception]], subscriber: Subscriber, using: str) -> None:
    """Fail what cannot be read; of what was acked before it was looked at, only the attempt can be kept."""
    roster = {subscriber.id: subscriber}
    if subscriber.delivery_mode == DeliveryMode.AT_MOST_ONCE:
        note(unreadable, roster, using=using)
    else:
        settle(Verdicts(failed={row.key: error for row, error in unreadable}), roster, using=using)


def _each_held(ack_ids: Iterable[str], do: Do, subscription: str | None, using: str) -> Settlement:
    """Do it to the claims that the ack ids name, a bounded number at a time."""
    asked = tuple(dict.fromkeys(ack_ids))
    named = {ack_id: key for ack_id in asked if (key := _named(ack_id))}
    keys = list(named.values())
    held: set[Key] = set()
    for start in range(0, len(keys), LARGEST_PULL):
        mine, roster = _mine(keys[start : start + LARGEST_PULL], subscription, using)
        if mine:
            held.update(do(mine, roster))
    settled = tuple(ack_id for ack_id in asked if named.get(ack_id) in held)
    return Settlement(settled, tuple(ack_id for ack_id in asked if named.get(ack_id) not in held))


def _named(ack_id: str) -> Key | None:
    """Return the claim, where the text is exactly what the broker gave out."""
    key = claim_of(ack_id) if isinstance(ack_id, str) else None
    return key if key and ack_id_of(*key) == ack_id else None


def _mine(keys: Sequence[Key], subscription: str | None, using: str) -> tuple[list[Key], Mapping[int, Subscriber]]:
    rows = Delivery.objects.using(using).filter(pk__in=[delivery for delivery, _ in keys])
    owners = dict(rows.values_list("pk", "subscription_id"))
    roster = subscribers(set(owners.values()), using)
    if subscription is not None:
        roster = {s.id: s for s in roster.values() if s.name == subscription}
    return [key for key in keys if owners.get(key[0]) in roster], roster
