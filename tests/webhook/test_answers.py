"""What becomes of a message by what its endpoint answers."""

import logging
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from django.utils import timezone

from datapunk_broker import broker
from datapunk_broker.engine.roster import Roster
from datapunk_broker.exceptions import EndpointFailedError
from datapunk_broker.models import DeadLetter, Subscription
from datapunk_broker.retry import Retry, RetryPolicy, decide
from datapunk_broker.transports.webhook.answer import retry_after
from tests.pump.make import acked, attempts, dead_letters, ended, make_due, owed, publish, states
from tests.webhook.conftest import SECRET, Hook, drain
from tests.webhook.site import Answer, Endpoint

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_success_is_an_ack(hook: Hook, endpoint: Endpoint, status: int) -> None:
    hook()
    endpoint.usual = Answer(status)
    publish(1)
    drain()
    assert (ended("hook"), attempts("hook")) == (["acked"], [])


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 429, 500, 503])
def test_all_else_is_a_failure_that_says_what_was_answered(hook: Hook, endpoint: Endpoint, status: int) -> None:
    hook(max_attempts=2)
    endpoint.usual = Answer(status, b"no such\r\ncustomer", {"Location": f"{endpoint.url}&followed"})
    publish(1)
    drain()
    assert (states("hook"), len(endpoint.asked)) == (["scheduled"], 1)
    [attempt] = attempts("hook")
    assert attempt.error_message == f"The endpoint answered {status}: no such  customer"
    assert attempt.error_class == "datapunk_broker.exceptions.EndpointFailedError"
    make_due("hook")
    drain()
    [letter] = dead_letters("hook")
    assert (letter.reason, letter.attempts) == ("attempts_exhausted", 2)
    assert letter.error_message == attempt.error_message
    assert [asked.path for asked in endpoint.asked] == ["/hook?a=1"] * 2


def test_an_answer_is_repeated_by_its_beginning_only(hook: Hook, endpoint: Endpoint) -> None:
    hook()
    endpoint.usual = Answer(500, b"x" * 20_000_000)
    publish(1)
    drain()
    [attempt] = attempts("hook")
    assert attempt.error_message == f"The endpoint answered 500: {'x' * 500}"


def test_success_holds_however_long_its_body_goes_on(hook: Hook, endpoint: Endpoint) -> None:
    hook()
    endpoint.usual = Answer(200, endless=True)
    publish(1)
    drain()
    assert ended("hook") == ["acked"]


def test_an_endpoint_that_hangs_is_given_its_timeout(hook: Hook, endpoint: Endpoint) -> None:
    hook(timeout=0.3)
    endpoint.usual = Answer(hangs=True)
    publish(1)
    drain()
    [attempt] = attempts("hook")
    assert (attempt.reason, attempt.error_message) == ("timeout", "The endpoint did not answer within 0.3 s.")


def test_an_endpoint_that_is_away_is_named_as_what_it_is(hook: Hook, endpoint: Endpoint) -> None:
    hook()
    endpoint.shutdown()
    endpoint.socket.close()
    publish(1)
    drain()
    [attempt] = attempts("hook")
    assert attempt.reason == "dependency_error"
    assert attempt.error_message.startswith("The endpoint could not be reached: ")


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_retry_after_lengthens_the_wait(hook: Hook, endpoint: Endpoint, status: int) -> None:
    hook()
    endpoint.usual = Answer(status, headers={"Retry-After": "3600"})
    publish(1)
    drain()
    [delivery] = owed("hook")
    assert timedelta(minutes=59) < delivery.available_at - timezone.now() <= timedelta(hours=1)


@pytest.mark.parametrize(
    ("asked", "wait"),
    [
        (None, 10.0),
        (timedelta(0), 10.0),
        (timedelta(seconds=60), 60.0),
        (timedelta(days=9000), timedelta(days=7).total_seconds()),
    ],
)
def test_a_wait_is_never_shortened_and_bounded(asked: timedelta | None, wait: float) -> None:
    policy = RetryPolicy(retry_delay=10, jitter=0)
    decided = decide(policy, attempt=1, error=EndpointFailedError(503, "", asked), rng=Random(1))
    assert isinstance(decided, Retry)
    assert decided.delay.total_seconds() == wait


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"120", 120),
        (b"Sun, 01 Nov 2026 12:01:00 GMT", 60),
        (b"Sun, 01 Nov 2026 11:00:00 GMT", 0),
        (b"Sun, 01 Nov 2026 12:01:00 -0000", 60),
        *((b"soon", None), (b"-1", None), (b"1.5", None), (b"", None), (b"\xff", None), (b"9" * 5000, None)),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: bytes, seconds: int | None) -> None:
    assert retry_after(value, NOW) == (None if seconds is None else timedelta(seconds=seconds))


def test_an_endpoint_that_is_gone_is_disabled_and_loses_nothing(hook: Hook, endpoint: Endpoint) -> None:
    hook(ordering=True)
    endpoint.answers.append(Answer(410))
    published = publish(*range(3), ordering_key="k")
    drain()
    row = Subscription.objects.get(name="hook")
    assert (row.state, len(endpoint.asked), len(owed("hook"))) == ("disabled", 1, 3)
    publish(3)
    assert drain() == 0

    broker.resume("hook")
    make_due("hook")
    drain()
    assert len(acked("hook")) == 4
    assert set(published) < acked("hook")


def test_at_most_once_asks_once(hook: Hook, endpoint: Endpoint) -> None:
    hook(delivery_mode="at_most_once")
    endpoint.usual = Answer(500)
    publish(1)
    drain()
    drain()
    assert (len(endpoint.asked), owed("hook"), len(attempts("hook"))) == (1, [], 1)


def test_a_key_keeps_its_order_and_holds_nobody_else_up(hook: Hook, endpoint: Endpoint) -> None:
    hook(ordering=True)
    endpoint.answers.append(Answer(503))
    for number in range(4):
        for key in "ab":
            publish(f"{key}{number}", ordering_key=key)
    drain()
    make_due("hook")
    drain()
    bodies = [asked.body for asked in endpoint.asked]
    assert len(bodies) == 9
    for key in (b'"a', b'"b'):
        taken = list(dict.fromkeys(body for body in bodies if body.startswith(key)))
        assert taken == sorted(taken)
    assert ended("hook") == ["acked"] * 8


def test_the_breaker_opens(hook: Hook, endpoint: Endpoint) -> None:
    hook(breaker={"failures": 2, "open_seconds": 60}, max_in_flight=1)
    endpoint.usual = Answer(500)
    publish(*range(5))
    drain()
    assert Subscription.objects.get(name="hook").breaker_state == "open"
    assert (len(endpoint.asked), len(owed("hook"))) == (2, 5)


def test_a_secret_is_in_no_log_no_error_and_no_dead_letter(
    hook: Hook, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    row = hook(max_attempts=1)
    endpoint.usual = Answer(500, b"no")
    with caplog.at_level(logging.DEBUG):
        publish(1)
        drain()
        Subscription.objects.filter(pk=row.pk).update(secret=f"{SECRET}!")
        publish(2)
        drain()
    shown = [caplog.text, repr(Roster("webhook", "default").current())]
    shown += [str(letter.__dict__) for letter in DeadLetter.objects.all()]
    shown += [str(attempt.__dict__) for attempt in attempts("hook")]
    assert len(shown) == 6
    assert not [text for text in shown if SECRET.removeprefix("whsec_") in text]
