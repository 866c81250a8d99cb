"""Sign a request as Standard Webhooks says: HMAC-SHA256 over its id, its time and exactly the bytes sent."""

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterable
from secrets import token_bytes

PREFIX = "whsec_"
LEAST, MOST = 24, 64
"""Bytes of a key."""


def new_secret() -> str:
    """Return a secret that nobody knows yet."""
    return PREFIX + b64encode(token_bytes(32)).decode()


def key_of(secret: str) -> bytes:
    """Return the key that a secret stands for; raises ValueError, which does not show it."""
    encoded = secret.removeprefix(PREFIX)
    try:
        key = b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        key = b""
    if encoded == secret or not LEAST <= len(key) <= MOST:
        problem = f"must be {PREFIX} and the base64 of {LEAST} to {MOST} bytes; leave it out to have one made"
        raise ValueError(problem)
    return key


def signatures(secrets: Iterable[str], identity: str, timestamp: int, body: bytes) -> str:
    """Return the value of ``webhook-signature``: one signature a secret, in their order."""
    signed = f"{identity}.{timestamp}.".encode() + body
    digests = (hmac.digest(key_of(secret), signed, hashlib.sha256) for secret in secrets)
    return " ".join(f"v1,{b64encode(digest).decode()}" for digest in digests)
