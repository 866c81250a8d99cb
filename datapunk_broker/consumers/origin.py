"""Whether a browser's page may open a socket here: one of this site, or of a site that the settings trust."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host
from django.utils.http import is_same_domain

LOCAL = (".localhost", "127.0.0.1", "[::1]")
PORTS = {"http": 80, "https": 443}


def is_allowed(scope: Mapping[str, Any]) -> bool:
    """Return whether the request's Origin may come; what has none is no browser."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    origin = headers.get("origin")
    if origin is None or _is_trusted(origin):
        return True
    scheme = _scheme(scope.get("scheme", ""), headers) or origin.partition("://")[0]
    return _is_own(origin, scheme, _host(headers))


def _scheme(scheme: str, headers: Mapping[str, str]) -> str | None:
    """Return the scheme that the page's own address would have; None where a proxy may have had TLS taken off."""
    if settings.SECURE_PROXY_SSL_HEADER:
        name, secure = settings.SECURE_PROXY_SSL_HEADER
        said = headers.get(name.removeprefix("HTTP_").replace("_", "-").lower())
        if said is not None:
            return "https" if said.partition(",")[0].strip() == secure else "http"
    return "https" if scheme in ("wss", "https") else None


def _host(headers: Mapping[str, str]) -> str:
    forwarded = headers.get("x-forwarded-host") if settings.USE_X_FORWARDED_HOST else None
    return forwarded or headers.get("host", "")


def _is_own(origin: str, scheme: str, host: str) -> bool:
    theirs, ours = _parts(origin), _parts(f"{scheme}://{host}")
    domain, _ = split_domain_port(host)
    allowed = settings.ALLOWED_HOSTS or (LOCAL if settings.DEBUG else ())
    return theirs is not None and theirs == ours and validate_host(domain, allowed)


def _is_trusted(origin: str) -> bool:
    theirs = _parts(origin)
    if theirs is None:
        return False
    for trusted in settings.CSRF_TRUSTED_ORIGINS:
        ours = _parts(trusted.replace("://*.", "://."))
        if ours is not None and (theirs[0], theirs[2]) == (ours[0], ours[2]) and is_same_domain(theirs[1], ours[1]):
            return True
    return False


def _parts(url: str) -> tuple[str, str, int | None] | None:
    """Return scheme, host and port, the scheme's own where none is named; None for what is no origin."""
    try:
        parsed = urlsplit(url)
        port = parsed.port
    except ValueError:
        return None
    if parsed.scheme not in PORTS or not parsed.hostname:
        return None
    return parsed.scheme, parsed.hostname, PORTS[parsed.scheme] if port is None else port
