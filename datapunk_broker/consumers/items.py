"""A message as readers get it: written once, shared by all of them."""

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from datapunk_broker import frames
from datapunk_broker.broker import Received
from datapunk_broker.envelope import Headers


@dataclass(frozen=True, slots=True)
class Item:
    """What readers share. text: the message as JSON, without the opening brace and the positions."""

    position: int
    routing_key: str
    headers: Headers
    text: str

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return len(self.text)


def of_stream(message: Any) -> Item:
    """Return the item of a message at its position."""
    return Item(message.position, message.routing_key, message.headers, frames.write_item(_shown(message)))


def of_wire(position: int, wire: Mapping[str, Any]) -> Item:
    """Return the item of a message that is stored nowhere, at a place that only this process knows."""
    headers = msgspec.json.decode(wire["headers"])
    item = frames.Item(
        id=wire["id"],
        topic=wire["topic"],
        routing_key=wire["routing_key"],
        headers=headers,
        published_at=datetime.fromisoformat(wire["published_at"]),
        priority=wire["priority"],
        correlation_id=wire["correlation_id"],
        reply_to=wire["reply_to"],
        **frames.shown(b64decode(wire["body"]), wire["content_type"]),
    )
    return Item(position, wire["routing_key"], headers, frames.write_item(item))


def of_received(message: Received[Any]) -> str:
    """Return the text of a message that was pulled."""
    item = _shown(message)
    item.ack_id, item.attempt = message.ack_id, message.attempt
    return frames.write_item(item)


def _shown(message: Any) -> frames.Item:
    return frames.Item(
        id=str(message.id),
        topic=message.topic,
        routing_key=message.routing_key,
        headers=message.headers,
        published_at=message.published_at,
        priority=message.priority,
        ordering_key=message.ordering_key,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        **frames.shown(message.body, message.content_type),
    )
