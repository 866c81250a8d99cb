"""Who may look at metrics: the staff, and whoever has a token."""

from enum import Enum, auto
from typing import Any

from django.apps import apps
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest

TOKENS = "rest_framework.authtoken"
SCHEME = "token"


class Access(Enum):
    """What somebody may see: ALL, or what everybody may; NONE is signed in, without being staff."""

    ALL = auto()
    NONE = auto()
    ANONYMOUS = auto()
    WRONG_TOKEN = auto()


def has_credentials(request: HttpRequest) -> bool:
    """Return whether it is worth asking the database who it is."""
    return "Authorization" in request.headers or bool(request.COOKIES)


def access_of(request: HttpRequest) -> Access:
    """Return what this request may see; asks the database."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == SCHEME:
        return Access.ALL if _is_token(key.strip()) else Access.WRONG_TOKEN
    user: Any = getattr(request, "user", AnonymousUser())
    if not user.is_authenticated:
        return Access.ANONYMOUS
    return Access.ALL if user.is_active and user.is_staff else Access.NONE


def _is_token(key: str) -> bool:
    if not (key.isascii() and key.isprintable() and apps.is_installed(TOKENS)):
        return False
    tokens: Any = apps.get_model("authtoken", "Token")
    return bool(tokens.objects.filter(key=key, user__is_active=True).exists())
