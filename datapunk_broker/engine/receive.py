"""Make of a claimed row what a subscriber gets: unpacked, decoded, typed."""

from typing import Any

import msgspec

from datapunk_broker.engine.roster import Subscriber
from datapunk_broker.engine.rows import Claimed
from datapunk_broker.envelope import Received, ack_id_of
from datapunk_broker.payload import decode, decompress
from datapunk_broker.states import Encoding

LARGEST = 256 * 1024 * 1024
"""Bytes that a body may have when unpacked; the limit was held when it was published."""


def receive(row: Claimed, subscriber: Subscriber, payload_type: Any = Any) -> Received[Any]:
    """Return the message. Raises PayloadInvalidError where the payload is not of the type.

    As ``msgspec.Raw`` the payload is its bytes, which nobody has to be able to read.
    """
    encoding = Encoding(row.encoding)
    body = bytes(row.body) if encoding == Encoding.IDENTITY else decompress(bytes(row.body), encoding, limit=LARGEST)
    return Received(
        ack_id=ack_id_of(row.delivery, row.token),
        attempt=row.attempt,
        id=row.message,
        topic=subscriber.topic,
        subscription=subscriber.name,
        payload=_payload(body, payload_type) if row.content_type == "application/json" else body,
        body=body,
        content_type=row.content_type,
        routing_key=row.routing_key,
        headers=msgspec.json.decode(row.headers),
        priority=row.priority,
        ordering_key=row.message_ordering_key,
        published_at=row.published_at,
        correlation_id=row.correlation_id,
        reply_to=row.reply_to,
    )


def _payload(body: bytes, payload_type: Any) -> Any:
    return msgspec.Raw(body) if payload_type is msgspec.Raw else decode(body, payload_type)
