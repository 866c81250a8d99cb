"""Who is at the other end, by session or token, and whether that still holds."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest, parse_cookie

from datapunk_broker.rights import Somebody

SESSIONS, TOKENS = "django.contrib.sessions", "rest_framework.authtoken"


@dataclass(frozen=True, slots=True)
class Identity:
    """A user and what vouches for it: the key of a session, or a token."""

    user: Somebody
    session: str | None = None
    token: str | None = None

    def again(self) -> "Identity | None":
        """Return who it is now, with the user's rights read anew; None when nothing vouches for them any more."""
        return by_token(self.token) if self.token is not None else by_session(self.session)


def session_key_of(headers: list[tuple[bytes, bytes]]) -> str | None:
    """Return the session key among the cookies of a request, if there is one."""
    cookies = b"; ".join(value for name, value in headers if name.lower() == b"cookie")
    return parse_cookie(cookies.decode("latin-1")).get(settings.SESSION_COOKIE_NAME)


def by_session(key: str | None) -> Identity | None:
    """Return who is signed in with this session."""
    if not _is_plain(key) or not apps.is_installed(SESSIONS):
        return None
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    user = get_user(request)
    return Identity(user, session=key) if user.is_authenticated and user.is_active else None


def by_token(key: str | None) -> Identity | None:
    """Return whose token this is."""
    if not _is_plain(key) or not apps.is_installed(TOKENS):
        return None
    tokens: Any = apps.get_app_config("authtoken").get_model("Token")
    token = tokens.objects.select_related("user").filter(key=key).first()
    return Identity(token.user, token=key) if token is not None and token.user.is_active else None


def _is_plain(key: str | None) -> bool:
    return bool(key) and str(key).isascii() and str(key).isprintable()
