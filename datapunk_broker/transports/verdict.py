"""Read what a call raised as a verdict on its messages."""

import asyncio
from collections.abc import Sequence
from typing import Any

from datapunk_broker.envelope import Received
from datapunk_broker.exceptions import BatchFailures
from datapunk_broker.transports.base import Outcome

VERDICTS = (Exception, asyncio.CancelledError)
"""What a handler raises about a message. A cancellation is one too: of something that it waited for."""


def verdict_of(error: BaseException) -> Exception:
    """Return the error that is kept."""
    if isinstance(error, Exception):
        return error
    cancelled = RuntimeError("What the handler waited for was cancelled.")
    cancelled.__cause__ = error
    return cancelled


def outcomes_of(batch: Sequence[Received[Any]], error: BaseException | None) -> list[Outcome]:
    """Return the outcome of each message of a batch whose call ended with this error, or without one."""
    if error is None:
        return [Outcome(message.ack_id) for message in batch]
    if not isinstance(error, BatchFailures):
        return _all_failed(batch, verdict_of(error))
    strangers = error.failures.keys() - {message.ack_id for message in batch}
    if strangers:
        # Acking all the others would lose those that it meant.
        problem = f"BatchFailures takes the ack ids of the batch; {min(map(repr, strangers))} is none."
        return _all_failed(batch, ValueError(problem))
    return [Outcome(message.ack_id, _failure(error.failures.get(message.ack_id))) for message in batch]


def _all_failed(batch: Sequence[Received[Any]], error: Exception) -> list[Outcome]:
    return [Outcome(message.ack_id, error, shared=len(batch) > 1) for message in batch]


def _failure(given: Any) -> Exception | None:
    return given if given is None or isinstance(given, Exception) else RuntimeError(str(given))
