"""Replies: what a handler returns goes where its message asks, once, with the ack."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from datapunk_broker import broker
from datapunk_broker.conf import TopicConfig
from datapunk_broker.envelope import Received
from datapunk_broker.exceptions import QueueFullError
from datapunk_broker.models import Message, Subscription, Topic
from datapunk_broker.pump import ledger
from datapunk_broker.pump.deliver import deliver
from tests.pump.conftest import Subscribe
from tests.pump.make import acked, attempts, claimed, dead_letters, drain, ended, publish, states, take_away

pytestmark = pytest.mark.django_db


@pytest.fixture
def answers(topic: str) -> str:
    broker.create_topic(TopicConfig("answers", stream=False, max_message_size=100))
    return "answers"


def said(topic: str = "answers") -> list[Message]:
    return list(Message.objects.filter(topic__name=topic).order_by("pk"))


def double(message: Received[Any]) -> dict[str, int]:
    return {"twice": 2 * message.payload}


async def double_later(message: Received[Any]) -> dict[str, int]:
    return double(message)


@pytest.mark.parametrize("mode", ["at_least_once", "at_most_once", "exactly_once"])
@pytest.mark.parametrize("handler", [double, double_later])
def test_what_a_handler_returns_is_published_once_under_the_same_correlation_id(
    subscribe: Subscribe, answers: str, mode: str, handler: Any
) -> None:
    subscribe(handler, delivery_mode=mode)
    publish(21, reply_to=answers, correlation_id="question-1")
    drain()
    [reply] = said()
    assert (bytes(reply.body), reply.correlation_id) == (b'{"twice":42}', "question-1")
    assert ended() == ["acked"]


def test_without_a_correlation_id_the_reply_carries_the_messages_own_id(subscribe: Subscribe, answers: str) -> None:
    subscribe(double)
    [message] = publish(1, reply_to=answers)
    drain()
    assert [reply.correlation_id for reply in said()] == [str(message)]


def test_nothing_is_said_where_nobody_asked_or_nothing_was_returned(subscribe: Subscribe, answers: str) -> None:
    subscribe(lambda message: None)
    publish(1, reply_to=answers)
    subscribe(double, "other", bindings=[{"routing_key": "other"}])
    publish(1, routing_key="other")
    drain()
    assert said() == []


@pytest.mark.parametrize("mode", ["at_least_once", "exactly_once"])
def test_a_reply_to_a_topic_that_is_not_there_fails_that_message_alone(
    subscribe: Subscribe, answers: str, mode: str
) -> None:
    subscribe(double, delivery_mode=mode, max_attempts=1)
    published = publish(1, reply_to=answers) + publish(2, reply_to="nowhere") + publish(3, reply_to=answers)
    drain()
    assert acked() == {published[0], published[2]}
    [letter] = dead_letters()
    assert letter.error_class == "datapunk_broker.exceptions.TopicNotFoundError"
    assert [reply.body for reply in said()] == [b'{"twice":2}', b'{"twice":6}']


def test_at_most_once_a_reply_that_cannot_be_published_leaves_an_attempt(subscribe: Subscribe, answers: str) -> None:
    subscribe(double, delivery_mode="at_most_once")
    publish(1, 2, reply_to="nowhere")
    drain()
    assert ended() == ["acked", "acked"]
    assert {attempt.error_class for attempt in attempts()} == {"datapunk_broker.exceptions.TopicNotFoundError"}


def test_a_reply_that_does_not_fit_its_topic_fails_that_message_alone(subscribe: Subscribe, answers: str) -> None:
    subscribe(lambda message: "x" * message.payload, max_attempts=1)
    published = publish(5, 500, reply_to=answers)
    drain()
    assert acked() == {published[0]}
    assert [letter.error_class for letter in dead_letters()] == ["datapunk_broker.exceptions.MessageTooLargeError"]


def test_a_reply_of_a_claim_that_was_lost_is_not_published(subscribe: Subscribe, answers: str) -> None:
    def bill(message: Received[Any]) -> str:
        take_away()
        return "too late"

    subscribe(bill)
    publish(1, reply_to=answers)
    drain()
    assert (said(), ended()) == ([], [])


def test_replies_that_are_refused_at_the_last_moment_are_tried_again_and_the_others_acked(
    subscribe: Subscribe, answers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe(double)
    monkeypatch.setattr(ledger, "check_each", lambda topic, messages, **_: [None] * len(messages))
    published = publish(1) + publish(2, reply_to="nowhere")
    drain()
    assert acked() == {published[0]}
    assert states() == ["scheduled"]


def test_replies_take_no_statement_each(subscribe: Subscribe, answers: str) -> None:
    subscribe(double)
    counts = []
    for many in (1, 2, 40):
        publish(*range(many), reply_to=answers)
        batch = claimed()
        with CaptureQueriesContext(connection) as statements:
            deliver(batch)
        counts.append(len(statements))
    assert counts[1] == counts[2]  # the first also read how the topic is routed


def test_a_full_reply_topic_fails_only_those_that_reply(subscribe: Subscribe, answers: str) -> None:
    subscribe(lambda message: None, "reader", topic=answers)
    subscribe(double, max_attempts=1, bindings=[{"routing_key": "ask"}])
    Subscription.objects.filter(name="reader").update(over_limit=True)
    Topic.objects.filter(name=answers).bump_routing()
    published = publish(1, routing_key="ask") + publish(2, reply_to=answers, routing_key="ask")
    drain()
    assert acked() == {published[0]}
    assert [letter.error_class for letter in dead_letters()] == [f"{QueueFullError.__module__}.QueueFullError"]
