"""The headers that go with a message's bytes: the signature, and what is known of the message."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import msgspec

from datapunk_broker import __version__
from datapunk_broker.envelope import Received
from datapunk_broker.exceptions import ConfigInvalidError
from datapunk_broker.transports.base import Endpoint
from datapunk_broker.transports.webhook.signing import signatures

TOKEN = re.compile(r"[A-Za-z0-9!#$&'*+.^_`|~-]{1,100}", re.ASCII)
PLAIN = "".join(map(chr, range(0x21, 0x7F))).translate({ord('"'): None, ord("%"): None})
"""What stands for itself in a value; all else is percent-encoded UTF-8, as in CloudEvents."""

MOST_HEADERS, LARGEST_HEADERS = 50, 8 * 1024
"""Of the message's own: how many go along, and their bytes in all. Servers refuse requests with more."""

Pairs = list[tuple[str, str]]


def headers_of(message: Received[Any], endpoint: Endpoint, timestamp: int) -> Pairs:
    """Return the headers of the request that takes a message to an endpoint at a time (seconds)."""
    if not endpoint.secrets:
        raise ConfigInvalidError("secret", "is missing: no webhook goes out unsigned")
    identity = str(message.id)
    return [
        ("content-type", message.content_type),
        ("user-agent", f"datapunk-broker/{__version__}"),
        ("webhook-id", identity),
        ("webhook-timestamp", str(timestamp)),
        ("webhook-signature", signatures(endpoint.secrets, identity, timestamp, message.body)),
        *_about(message),
        *_own(message),
    ]


def _about(message: Received[Any]) -> Iterator[tuple[str, str]]:
    yield "datapunk-topic", message.topic
    yield "datapunk-subscription", message.subscription
    yield "datapunk-attempt", str(message.attempt)
    yield "datapunk-routing-key", _encoded(message.routing_key)
    yield "datapunk-published-at", message.published_at.isoformat()
    if message.ordering_key is not None:
        yield "datapunk-ordering-key", _encoded(message.ordering_key)
    if message.correlation_id is not None:
        yield "datapunk-correlation-id", _encoded(message.correlation_id)


def _own(message: Received[Any]) -> Pairs:
    """Return the message's own headers that fit; the prefix keeps them apart from those that mean something in HTTP."""
    pairs: Pairs = []
    room = LARGEST_HEADERS
    for name, value in message.headers.items():
        text = _encoded(value if isinstance(value, str) else msgspec.json.encode(value).decode())
        size = len(name) + len(text)
        if TOKEN.fullmatch(name) and size <= room and len(pairs) < MOST_HEADERS:
            pairs.append((f"datapunk-header-{name.lower()}", text))
            room -= size
    return pairs


def _encoded(text: str) -> str:
    return quote(text, safe=PLAIN)
