"""The handlers that the drills' subscriptions name; a message may tell them to misbehave.

``{"number": n, "do": what}``: to ``fail``, ``hang``, ``fall`` (its process is killed) before or ``fall after`` the
effect, each on its first attempt alone; to be ``poison`` is to kill the process on every one.
"""

import os
import signal
import threading
from collections.abc import Sequence
from typing import Any

from django.conf import settings

from datapunk_broker import broker
from tests.faults.effects import leave
from tests.faults.shop.models import Effect

Message = broker.Received[Any]


def record(message: Message) -> None:
    """Leave the effect of one message."""
    do = _asked_of(message)
    if do in ("fall", "poison"):
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "hang":
        threading.Event().wait(3600)
    _note([message])
    Effect.objects.create(subscription=message.subscription, number=message.payload["number"])
    if do == "fail":
        raise RuntimeError("It was asked to fail.")
    if do == "fall after":
        os.kill(os.getpid(), signal.SIGKILL)


def record_slowly(message: Message) -> None:
    """Leave the effect, and take a while over it."""
    record(message)
    threading.Event().wait(0.02)


def record_batch(messages: Sequence[Message]) -> None:
    """Leave the effects of some messages."""
    failures = {m.ack_id: RuntimeError("It was asked to fail.") for m in messages if _asked_of(m) == "fail"}
    if any(_asked_of(message) == "poison" for message in messages):
        os.kill(os.getpid(), signal.SIGKILL)
    _note(messages)
    rows = [Effect(subscription=m.subscription, number=m.payload["number"]) for m in messages]
    Effect.objects.bulk_create(rows)
    if failures:
        raise broker.BatchFailures(failures)


def _asked_of(message: Message) -> str:
    do: str = message.payload.get("do", "")
    return do if do == "poison" or message.attempt == 1 else ""


def _note(messages: Sequence[Message]) -> None:
    if messages:
        leave(settings.EFFECTS, messages[0].subscription, *(message.payload["number"] for message in messages))
