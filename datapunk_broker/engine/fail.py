"""Return claims whose attempt failed, or end them: the policy decides, this writes it."""

import random
import traceback
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db.models import Case, F, Value, When
from django.db.models.fields import DateTimeField
from django.db.models.functions import Now

from datapunk_broker import signals
from datapunk_broker.engine.attempts import record
from datapunk_broker.engine.bury import End, bury, correlation_ids
from datapunk_broker.engine.hold import Key, hand_back, hold
from datapunk_broker.engine.roster import Subscriber
from datapunk_broker.engine.rows import Claimed
from datapunk_broker.models import Attempt, Delivery
from datapunk_broker.retry import Dead, Retry, decide, reason_of
from datapunk_broker.states import DeliveryState, FailureReason, Settled

LONGEST_TRACEBACK = 8_000
LONGEST_MESSAGE = 2_000
"""Characters that are kept of what went wrong."""

FRAMES = 3
"""Places that are told of where an error came from."""

MESSAGE_FAULTS = {FailureReason.VALIDATION_ERROR, FailureReason.REJECTED}
"""Reasons that say the message is bad, not the subscriber: a breaker does not count them."""

_rng = random.SystemRandom()


_Run = tuple[int, str, UUID | None]
"""A subscription, an ordering key and a token: what the deliveries of one key share that were claimed together."""


@dataclass(frozen=True, slots=True)
class Failed:
    """What ``fail`` did: the claims still held, and how many failures a breaker should count, by subscription."""

    held: frozenset[Key]
    counted: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class _Failure:
    row: Delivery
    error: Exception
    reason: FailureReason
    decision: Retry | Dead

    @property
    def attempt(self) -> int:
        return self.row.attempt + 1


def fail(
    errors: Mapping[Key, Exception],
    roster: Mapping[int, Subscriber],
    *,
    shared: Collection[Key] = (),
    using: str,
) -> Failed:
    """Charge an attempt to each claim still held and retry or end it, in the caller's transaction.

    A bounded few statements, whatever their number. Those that failed in a ``shared`` call are claimed alone the
    next time, so that the one at fault is found. In an ordered subscription what was claimed behind a failing
    message of the same key goes back unharmed.
    """
    held = hold(list(errors), using=using)
    failures = [_judge(row, errors[key], roster[row.subscription_id]) for key, row in held.items()]
    if not failures:
        return Failed(frozenset(), {})
    _record(failures, using)
    _retry([f for f in failures if isinstance(f.decision, Retry)], set(held), {pk for pk, _ in shared}, using)
    bury([_end(f) for f in failures if isinstance(f.decision, Dead)], roster, using=using)
    _announce(failures, roster, using)
    counted = Counter(f.row.subscription_id for f in failures if f.reason not in MESSAGE_FAULTS)
    return Failed(frozenset(held), counted)


def note(failures: Sequence[tuple[Claimed, Exception]], roster: Mapping[int, Subscriber], *, using: str) -> None:
    """Keep what went wrong with deliveries that were settled before they were handled (at most once)."""
    told = [_Failure(_as_delivery(row), error, reason_of(error), Dead(reason_of(error))) for row, error in failures]
    if told:
        _record(told, using)
        _announce(told, roster, using)


def _as_delivery(row: Claimed) -> Delivery:
    delivery = Delivery(pk=row.delivery, message_id=row.message, subscription_id=row.subscription)
    delivery.attempt = row.attempt - 1
    return delivery


def _judge(row: Delivery, error: Exception, subscriber: Subscriber) -> _Failure:
    decision = decide(subscriber.retry, attempt=row.attempt + 1, error=error, rng=_rng)
    return _Failure(row, error, reason_of(error), decision)


def _record(failures: list[_Failure], using: str) -> None:
    attempts = [
        Attempt(
            message_id=f.row.message_id,
            subscription_id=f.row.subscription_id,
            attempt=f.attempt,
            reason=f.reason,
            error_class=_class_of(f.error),
            error_message=_said(f.error),
            failed_at=Now(),
        )
        for f in failures
    ]
    record(attempts, using=using)


def _retry(failures: list[_Failure], failing: set[Key], shared: set[int], using: str) -> None:
    if not failures:
        return
    waits = {f.row.pk: f.decision.delay for f in failures if isinstance(f.decision, Retry)}
    at_once = [pk for pk, wait in waits.items() if wait <= timedelta(0)]
    due = [When(pk=f.row.pk, then=Value(f.row.now + waits[f.row.pk], output_field=DateTimeField())) for f in failures]
    Delivery.objects.using(using).filter(pk__in=waits).update(
        state=Case(When(pk__in=at_once, then=Value(DeliveryState.READY)), default=Value(DeliveryState.SCHEDULED)),
        available_at=Case(*due, default=F("available_at")),
        attempt=F("attempt") + 1,
        lapses=Case(When(pk__in=shared, then=Value(1)), default=Value(0)),
        ack_token=None,
        lease_until=None,
    )
    _hold_back(failures, failing, using)


def _hold_back(failures: list[_Failure], failing: set[Key], using: str) -> None:
    first: dict[_Run, int] = {}
    for row in sorted((f.row for f in failures if f.row.ordering_key is not None), key=lambda row: row.pk):
        first.setdefault(_run_of(row), row.pk)
    if not first:
        return
    subscriptions, keys, tokens = (set(column) for column in zip(*first, strict=True))
    claimed = Delivery.objects.using(using).locked().filter(state=DeliveryState.CLAIMED, subscription__in=subscriptions)
    others = claimed.filter(ack_token__in=tokens, ordering_key__in=keys).exclude(pk__in=[pk for pk, _ in failing])
    behind = [row.pk for row in others.order_by("pk") if row.pk > first.get(_run_of(row), row.pk)]
    if behind:
        hand_back(behind, using=using)


def _run_of(row: Delivery) -> _Run:
    """Return what the deliveries of one key that were claimed together have in common."""
    return row.subscription_id, row.ordering_key or "", row.ack_token


def _end(failure: _Failure) -> End:
    error = failure.error
    return End(
        delivery=failure.row,
        outcome=Settled.DEAD,
        reason=failure.decision.reason,
        attempts=failure.attempt,
        now=failure.row.now,
        error_class=_class_of(error),
        error_message=_said(error),
        traceback=_text("".join(traceback.format_exception(error)), LONGEST_TRACEBACK),
    )


def where_raised(error: Exception) -> str:
    """Return the innermost places that it came from, without a value of any, so nothing of a payload."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    return " > ".join(f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)


def _class_of(error: Exception) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")[:255]


def _said(error: Exception) -> str:
    try:
        told = str(error)
    except Exception as broken:  # noqa: BLE001 - a subscriber's error that cannot be written must not undo the batch
        told = f"(its own text cannot be had: {type(broken).__name__})"
    return _text(told, LONGEST_MESSAGE)


def _text(text: str, limit: int) -> str:
    # PostgreSQL cannot store NUL, nor UTF-8 lone surrogates; the end of a traceback says more than its beginning.
    clean = text[-limit - 1 :].replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
    return clean if len(clean) <= limit else f"… {clean[-limit:]}"


def _announce(failures: list[_Failure], roster: Mapping[int, Subscriber], using: str) -> None:
    if not signals.attempt_failed.receivers:
        return
    correlations = correlation_ids([f.row.message_id for f in failures], using=using)
    for f in failures:
        signals.announce_on_commit(
            signals.attempt_failed,
            sender=fail,
            using=using,
            subscription=roster[f.row.subscription_id].name,
            topic=roster[f.row.subscription_id].topic,
            message_id=f.row.message_id,
            correlation_id=correlations.get(f.row.message_id),
            attempt=f.attempt,
            reason=f.reason,
            error_class=_class_of(f.error),
            where=where_raised(f.error),
            retry_in=f.decision.delay if isinstance(f.decision, Retry) else None,
        )
