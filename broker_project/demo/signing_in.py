"""A link that signs a person in, once."""

from django.contrib.auth.models import User
from django.core import signing

SALT = "broker_project.demo.sign-in"
LONGEST = 24 * 3600
"""Seconds that a link is good for at most."""


def token_for(user: User) -> str:
    """Return a token that is good until its user next signs in."""
    return signing.dumps([user.pk, _last_login(user)], salt=SALT)


def user_of(token: str) -> User | None:
    """Return whom a token signs in, with the row locked until the transaction ends; None when it is spent."""
    try:
        pk, last_login = signing.loads(token, salt=SALT, max_age=LONGEST)
    except signing.BadSignature:
        return None
    user = User.objects.select_for_update().filter(pk=pk, is_active=True).first()
    return user if user is not None and _last_login(user) == last_login else None


def _last_login(user: User) -> str:
    return user.last_login.isoformat() if user.last_login else ""
