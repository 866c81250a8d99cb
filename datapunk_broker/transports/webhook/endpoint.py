"""Refuse an endpoint that is plainly wrong when it is saved; where its name leads is seen when connecting."""

import re
from collections.abc import Collection
from importlib.util import find_spec
from urllib.parse import SplitResult, urlsplit

from datapunk_broker.exceptions import ConfigInvalidError, EndpointRefusedError
from datapunk_broker.transports.webhook.addresses import Network, may_be_reached, read_address
from datapunk_broker.transports.webhook.signing import key_of

NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.IGNORECASE)
NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
"""A host whose last label is one of these is taken for an address, in whatever spelling."""

MISSING = "webhook needs what is not installed here: pip install 'datapunk-broker[webhooks]'"


def is_installed() -> bool:
    """Return whether this process can make the requests."""
    return find_spec("httpcore") is not None and find_spec("anyio") is not None


def check_endpoint(url: str, secret: str | None, allowed: Collection[Network]) -> None:
    """Refuse a URL that no webhook goes to and a secret that signs none; no name is looked up.

    Raises EndpointRefusedError, or ConfigInvalidError, which does not show the secret.
    """
    if not is_installed():
        raise ConfigInvalidError("transport", MISSING)
    _check_host(url, _host(url), allowed)
    if secret:
        try:
            key_of(secret)
        except ValueError as error:
            raise ConfigInvalidError("secret", str(error)) from None


def _host(url: str) -> str:
    # urlsplit drops what it should not, so the text itself is looked at first.
    if not url.isascii() or not url.isprintable() or set(url) & set(" \\"):
        raise EndpointRefusedError(url, "has characters that a URL cannot have; encode them")
    try:
        split = urlsplit(url)
        return _checked(url, split, split.port)
    except ValueError as error:
        raise EndpointRefusedError(url, f"is no URL: {error}") from None


def _checked(url: str, split: SplitResult, port: int | None) -> str:
    if split.scheme not in ("http", "https"):
        raise EndpointRefusedError(url, "begins neither with https:// nor with http://")
    if "@" in split.netloc:
        hidden = url.replace(split.netloc, f"…@{split.netloc.rpartition('@')[2]}", 1)
        raise EndpointRefusedError(hidden, "has credentials; the signature says who sent it")
    if port == 0:
        raise EndpointRefusedError(url, "has the port 0")
    return split.hostname or ""


def _check_host(url: str, host: str, allowed: Collection[Network]) -> None:
    name = host.removesuffix(".")
    last = name.rpartition(".")[2].lower()
    try:
        address = read_address("127.0.0.1" if last == "localhost" else host)
    except ValueError:
        if NUMERIC.fullmatch(last) or not NAME.fullmatch(name):
            problem = f"{host!r} is neither the name of a host nor an address as it is usually written"
            raise EndpointRefusedError(url, problem) from None
        return
    if "%" in host or not may_be_reached(address, allowed):
        problem = f"{address} is not public; WEBHOOK_ALLOWED_NETWORKS says which others may be reached"
        raise EndpointRefusedError(url, problem)
