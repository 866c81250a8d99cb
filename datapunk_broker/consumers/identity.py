"""Who is at the other end, by session or token, and whether that still holds."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model, load_backend
from django.http import parse_cookie
from django.utils.crypto import constant_time_compare

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
    user = _user_of(import_module(settings.SESSION_ENGINE).SessionStore(key))
    return Identity(user, session=key) if user is not None and user.is_active else None


def _user_of(session: Any) -> Any:
    """Return a session's user, or None.

    Django's own ``get_user`` would give the session another key where SECRET_KEY was changed, which a socket cannot
    tell the browser: it would be signed out.
    """
    path, user_id = session.get(BACKEND_SESSION_KEY), session.get(SESSION_KEY)
    if user_id is None or path not in settings.AUTHENTICATION_BACKENDS:
        return None
    user: Any = load_backend(path).get_user(get_user_model()._meta.pk.to_python(user_id))
    if user is None or not hasattr(user, "get_session_auth_hash"):
        return user
    given = session.get(HASH_SESSION_KEY) or ""
    valid = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return user if any(constant_time_compare(given, one) for one in valid) else None


def by_token(key: str | None) -> Identity | None:
    """Return whose token this is."""
    if not _is_plain(key) or not apps.is_installed(TOKENS):
        return None
    tokens: Any = apps.get_app_config("authtoken").get_model("Token")
    token = tokens.objects.select_related("user").filter(key=key).first()
    return Identity(token.user, token=key) if token is not None and token.user.is_active else None


def _is_plain(key: str | None) -> bool:
    return bool(key) and str(key).isascii() and str(key).isprintable()
