"""Answer: what a handler returned, published where its message said."""

from typing import Any

from datapunk_broker.engine.publish import publish
from datapunk_broker.engine.settle import Reply
from datapunk_broker.envelope import Received


def reply_of(message: Received[Any], value: Any) -> Reply | None:
    """Return the reply, or None where the message asks for none or there is nothing to say."""
    if message.reply_to is None or value is None:
        return None
    return Reply(message.reply_to, value, message.correlation_id or str(message.id))


def answer(message: Received[Any], value: Any, *, using: str) -> None:
    """Publish the reply to one message, if there is one; raises what ``publish`` raises."""
    if reply := reply_of(message, value):
        publish(reply.topic, [reply.message()], using=using)
