import random
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from datapunk_broker import signals
from datapunk_broker.engine import attempts as attempts_engine
from datapunk_broker.engine import fail as fail_engine
from datapunk_broker.engine.fail import LONGEST_MESSAGE, LONGEST_TRACEBACK, note
from datapunk_broker.engine.settle import Verdicts, settle
from datapunk_broker.exceptions import HandlerTimeoutError, PayloadInvalidError, Reject, RetryAfter
from datapunk_broker.models import Attempt, DeadLetter, Delivery, Subscription, Topic
from datapunk_broker.retry import LONGEST_RETRY_AFTER
from datapunk_broker.states import FailureReason
from tests.engine.make import make_subscription, make_topic, published
from tests.engine.working import (
    USING,
    claimed,
    failed,
    hearing,
    keys,
    only_delivery,
    outcomes,
    roster_of,
    suspected,
)

pytestmark = pytest.mark.django_db

EACH = {"retry_delay": 10.0, "jitter": 0.0, "max_attempts": 6, "max_retry_delay": 45.0}


@pytest.fixture
def topic() -> Topic:
    return make_topic()


def waits(subscription: Subscription, error: Exception, attempts: int) -> list[float]:
    """The seconds until each next attempt, one failure after the other."""
    seconds = []
    for _ in range(attempts):
        before = timezone.now()
        assert failed(claimed(subscription), error, subscription)
        delivery = only_delivery()
        assert (delivery.state, delivery.ack_token, delivery.lease_until) == ("scheduled", None, None)
        seconds.append((delivery.available_at - before).total_seconds())
        Delivery.objects.update(state="ready")
    return [round(wait) for wait in seconds]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("fixed", [10, 10, 10, 10, 10]),
        ("linear", [10, 20, 30, 40, 45]),
        ("exponential", [10, 20, 40, 45, 45]),
        ("fibonacci", [10, 10, 20, 30, 45]),
    ],
)
def test_the_next_attempt_waits_as_the_strategy_says(topic: Topic, strategy: str, expected: list[int]) -> None:
    billing = make_subscription(topic, retry_strategy=strategy, **EACH)
    published(topic, 1)
    assert waits(billing, ValueError(), 5) == expected
    assert only_delivery().attempt == 5


def test_a_random_wait_is_drawn_between_the_delay_and_the_longest(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    billing = make_subscription(topic, retry_strategy="random", **EACH)
    published(topic, 1)
    monkeypatch.setattr(fail_engine, "_rng", random.Random(1))
    drawn = waits(billing, ValueError(), 5)
    assert all(10 <= wait <= 45 for wait in drawn)
    assert len(set(drawn)) > 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [(RetryAfter(77), 77), (RetryAfter(timedelta(days=365)), LONGEST_RETRY_AFTER.total_seconds())],
)
def test_an_error_may_name_its_own_wait(topic: Topic, error: Exception, expected: float) -> None:
    billing = make_subscription(topic, **EACH)
    published(topic, 1)
    assert waits(billing, error, 1) == [expected]


@pytest.mark.parametrize("error", [RetryAfter(0), RetryAfter(-5)])
def test_no_wait_at_all_is_ready_at_once(topic: Topic, error: Exception) -> None:
    billing = make_subscription(topic)
    published(topic, 1)
    failed(claimed(billing), error, billing)
    assert (only_delivery().state, only_delivery().attempt) == ("ready", 1)
    assert len(claimed(billing)) == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("no"), FailureReason.PROCESSING_ERROR),
        (HandlerTimeoutError(3), FailureReason.TIMEOUT),
        (ConnectionError(), FailureReason.DEPENDENCY_ERROR),
    ],
)
def test_each_failed_attempt_leaves_a_row(topic: Topic, error: Exception, reason: FailureReason) -> None:
    billing = make_subscription(topic, max_attempts=5)
    [message] = published(topic, 1)
    waits(billing, error, 2)
    rows = Attempt.objects.order_by("pk").values_list("message_id", "subscription_id", "attempt", "reason")
    assert list(rows) == [(message.pk, billing.pk, n, reason) for n in (1, 2)]


def test_of_many_failed_attempts_the_first_and_the_newest_are_kept(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts_engine, "KEPT", 3)
    billing, another = (make_subscription(topic, name, max_attempts=9) for name in ("billing", "another"))
    published(topic, 1)
    for name, times in ((billing, 7), (another, 2)):
        for _ in range(times):
            failed(claimed(name), ValueError("no"), name)
            Delivery.objects.update(state="ready")

    def kept(subscription: Subscription) -> list[int]:
        rows = Attempt.objects.filter(subscription=subscription).order_by("pk")
        return list(rows.values_list("attempt", flat=True))

    assert (kept(billing), kept(another)) == ([1, 6, 7], [1, 2])


def test_the_last_attempt_is_the_death(topic: Topic) -> None:
    billing = make_subscription(topic, max_attempts=2)
    [message] = published(topic, 1)
    waits(billing, ValueError("first"), 1)
    failed(claimed(billing), KeyError("last"), billing)
    letter = DeadLetter.objects.get()
    assert (letter.reason, letter.attempts) == (FailureReason.ATTEMPTS_EXHAUSTED, 2)
    assert (letter.error_class, letter.error_message) == ("KeyError", "'last'")
    assert letter.first_failed_at == Attempt.objects.earliest("pk").failed_at
    assert outcomes() == [(message.pk, "dead", 2)]
    assert not Delivery.objects.exists()


@pytest.mark.parametrize(
    ("error", "reason", "told"),
    [
        (Reject("never"), FailureReason.REJECTED, "never"),
        (Reject(), FailureReason.REJECTED, ""),
        (PayloadInvalidError("payload", "is odd"), FailureReason.VALIDATION_ERROR, "payload: is odd"),
    ],
)
def test_what_can_never_be_handled_dies_at_once(
    topic: Topic, error: Exception, reason: FailureReason, told: str
) -> None:
    billing = make_subscription(topic, max_attempts=9)
    published(topic, 1)
    failed(claimed(billing), error, billing)
    letter = DeadLetter.objects.get()
    assert (letter.reason, letter.error_message, letter.attempts) == (reason, told, 1)


def test_a_subscription_without_its_own_number_has_the_settings(topic: Topic, settings: Any) -> None:
    settings.DATAPUNK_BROKER = {"MAX_ATTEMPTS": 1}
    billing = make_subscription(topic)
    published(topic, 1)
    failed(claimed(billing), ValueError(), billing)
    assert DeadLetter.objects.count() == 1


def deep(text: str, depth: int = 400) -> None:
    if depth:
        deep(text, depth - 1)
    raise ValueError(text)


def test_a_traceback_is_trimmed_to_its_end_and_can_always_be_stored(topic: Topic) -> None:
    billing = make_subscription(topic, max_attempts=1)
    published(topic, 1)
    with pytest.raises(ValueError, match="odd") as raised:
        deep("odd: \0 \ud800 " + "x" * 20_000 + " the end")
    failed(claimed(billing), raised.value, billing)
    letter = DeadLetter.objects.get()
    for text, longest in ((letter.traceback, LONGEST_TRACEBACK), (letter.error_message, LONGEST_MESSAGE)):
        assert len(text) <= longest + 2
        assert text.rstrip().endswith("the end")
    assert Attempt.objects.get().error_message == letter.error_message


def test_a_nul_and_a_lone_surrogate_are_written_out(topic: Topic) -> None:
    billing = make_subscription(topic, max_attempts=1)
    published(topic, 1)
    failed(claimed(billing), ValueError("a\0b\ud800c\u00e9"), billing)
    assert DeadLetter.objects.get().error_message == "a\\0b\\ud800c\u00e9"


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even that")


@pytest.mark.parametrize("error", [MuteError(), Reject(7), Reject(None)])  # type: ignore[arg-type]
def test_an_error_that_cannot_say_what_it_is_harms_no_other(topic: Topic, error: Exception) -> None:
    billing = make_subscription(topic, max_attempts=1)
    published(topic, 1, 2)
    one, two = claimed(billing)
    settle(Verdicts(acked=[one.key], failed={two.key: error}), roster_of(billing), using=USING)
    assert sorted(outcome for _, outcome, _ in outcomes()) == ["acked", "dead"]


def test_those_that_failed_together_are_claimed_alone_next_time(topic: Topic) -> None:
    billing = make_subscription(topic)
    published(topic, *range(3))
    one, two, three = rows = claimed(billing)
    errors = dict.fromkeys(keys(rows), ValueError())
    settle(Verdicts(failed=errors, shared={one.key, two.key}), roster_of(billing), using=USING)
    Delivery.objects.update(state="ready")
    assert [row.delivery for row in claimed(billing)] == [three.delivery]
    [alone] = suspected(billing)
    assert alone.delivery == one.delivery
    failed([alone], ValueError(), billing)
    assert Delivery.objects.get(pk=one.delivery).lapses == 0


def test_what_fails_after_it_was_settled_is_kept_all_the_same(topic: Topic) -> None:
    billing = make_subscription(topic, delivery_mode="at_most_once")
    [message] = published(topic, 1)
    rows = claimed(billing)
    settle(Verdicts(acked=keys(rows)), roster_of(billing), using=USING)
    note([(rows[0], ValueError("late"))], roster_of(billing), using=USING)
    attempt = Attempt.objects.get()
    assert (attempt.message_id, attempt.attempt, attempt.error_message) == (message.pk, 1, "late")
    note([], {}, using=USING)


@pytest.mark.django_db(transaction=True)
def test_each_failure_is_told_with_what_follows(topic: Topic) -> None:
    billing = make_subscription(topic, retry_delay=5.0, jitter=0.0)
    published(topic, 1, 2, correlation_id="c")
    one, two = claimed(billing)
    with hearing(signals.attempt_failed) as heard, hearing(signals.dead_lettered) as died:
        failures = {one.key: ValueError(), two.key: Reject("no")}
        settle(Verdicts(failed=failures), roster_of(billing), using=USING)
    about = {"subscription": "billing", "topic": "orders", "correlation_id": "c", "using": USING}
    assert [event["retry_in"] for event in heard] == [timedelta(seconds=5), None]
    assert all(about.items() <= event.items() for event in [*heard, *died])
    assert [(event["message_id"], event["reason"]) for event in died] == [(two.message, FailureReason.REJECTED)]
