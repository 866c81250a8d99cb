"""The demo's handlers: each shows one thing that a subscriber can be. Django finds this module by its name."""

import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any

import msgspec

from broker_project.demo.models import Fault, Note
from datapunk_broker import broker
from datapunk_broker.states import RetryStrategy

log = logging.getLogger(__name__)

Event = dict[str, Any]

PATIENT = broker.RetryPolicy(max_attempts=3, retry_strategy=RetryStrategy.FIXED, retry_delay=2.0, jitter=0.0)
"""Slow enough to watch."""


@dataclass(frozen=True)
class Order:
    """What is published to ``orders``."""

    id: int
    total: float


orders = broker.topic("orders", Order)


class ToldToFailError(Exception):
    """Somebody switched a fault on, on the page."""

    def __init__(self, subscription: str) -> None:
        super().__init__(f"{subscription} was told to fail")


def fail_if_told(subscription: str) -> None:
    """Raise ToldToFailError where a person wants to see this handler fail."""
    if Fault.objects.filter(subscription=subscription).exists():
        raise ToldToFailError(subscription)


def note(subscription: str, text: str) -> None:
    """Leave a row for the page, and a line in the log."""
    fail_if_told(subscription)
    Note.objects.create(subscription=subscription, text=text[:500])
    log.info("%s: %s", subscription, text)


@broker.subscriber("github", routing_key="issues.*")
def issues(message: broker.Received[Event]) -> None:
    """TOPIC: a pattern, here of exactly two words."""
    issue = message.payload["issue"]
    note("issues", f"#{issue['number']} {message.payload['action']}: {issue['title']}")


@broker.subscriber("github", routing_key="pull_request.#")
def pull_requests(message: broker.Received[Event]) -> None:
    """TOPIC: # is any number of words."""
    request = message.payload["pull_request"]
    note("pull_requests", f"#{request['number']} {message.payload['action']}: {request['title']}")


@broker.subscriber("github", bindings=[{"routing_key": "issue_comment.*"}, {"routing_key": "commit_comment.*"}])
async def comments(message: broker.Received[Event]) -> None:
    """Several bindings, one delivery; and an asynchronous handler: a hundred of its calls run at once."""
    author = message.payload["comment"]["user"]["login"]
    if await Fault.objects.filter(subscription="comments").aexists():
        raise ToldToFailError("comments")
    await Note.objects.acreate(subscription="comments", text=f"{author}, by {message.routing_key}")


@broker.subscriber("github", routing_key="#", batch_size=50)
def tally(messages: list[broker.Received[Event]]) -> None:
    """A batch: the annotation says so. One row for up to fifty messages."""
    kinds = Counter(message.routing_key.partition(".")[0] for message in messages)
    most = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common(3))
    note("tally", f"a batch of {len(messages)}: {most}")


@broker.subscriber("github", routing_key="#", delivery_mode="exactly_once")
def relay(message: broker.Received[Event]) -> None:
    """Exactly once in effect: what it publishes is committed with its ack, or not at all."""
    fail_if_told("relay")
    broker.publish(
        "repositories",
        msgspec.Raw(message.body),
        routing_key=message.routing_key,
        headers=message.headers,
        ordering_key=message.ordering_key,
    )


@broker.subscriber(
    "github",
    routing_key="release.*",
    retry=broker.RetryPolicy(max_attempts=3, retry_strategy=RetryStrategy.FIXED, retry_delay=1.0),
)
def announcements(message: broker.Received[Event]) -> None:
    """It fails: everything at first, and a deleted release three times, which makes a dead letter of it."""
    if message.payload["action"] == "deleted" or message.attempt == 1:
        raise ConnectionError("the chat room does not answer")
    note("announcements", f"{message.routing_key} was announced at attempt {message.attempt}")


@broker.subscriber("repositories", headers={"x-match": "all", "language": "Ruby", "private": False}, ordering=True)
def public_ruby(message: broker.Received[Event]) -> None:
    """HEADERS: all of these; and in order, repository by repository."""
    note("public_ruby", f"{message.headers['repository']}: {message.routing_key}")


@broker.subscriber("repositories", headers={"x-match": "any", "private": True, "language": "TypeScript"})
def private_or_typescript(message: broker.Received[Event]) -> None:
    """HEADERS: any of these."""
    note("private_or_typescript", f"{message.headers['repository']}: {message.routing_key}")


@orders.subscriber()
def packing(message: broker.Received[Order]) -> None:
    """DIRECT: without a binding, a subscription is addressed by its own name."""
    note("packing", f"order {message.payload.id} is packed")


@orders.subscriber()
def billing(message: broker.Received[Order]) -> dict[str, Any]:
    """DIRECT, the other of the pair; what it returns goes to the topic that ``reply_to`` names, if any."""
    order = message.payload
    note("billing", f"order {order.id} costs {order.total:.2f}")
    return {"order": order.id, "due": order.total}


@broker.subscriber("alerts", retry=PATIENT)
def on_call(message: broker.Received[Any]) -> None:
    """FANOUT: everybody gets everything."""
    note("on_call", f"wakes up: {message.payload}")


@broker.subscriber("alerts", max_in_flight=1)
def alarm_bell(message: broker.Received[Any]) -> None:
    """FANOUT, the other one: one message at a time, however many workers there are."""
    note("alarm_bell", f"rings: {message.payload}")
