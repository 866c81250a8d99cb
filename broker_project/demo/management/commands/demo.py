"""Serve the demo, with a user to sign in as."""

import os
import secrets
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import User
from django.urls import reverse

from broker_project.demo.signing_in import token_for
from datapunk_broker.management.commands import runbroker

ADMIN = "admin"


class Command(runbroker.Command):
    """``runbroker`` with a way in; DEMO_ADMIN_PASSWORD sets the password."""

    help = "Make the user admin if there is none, and serve the demo in one process."

    def serving(self, url: str) -> None:
        if (host := urlsplit(url).hostname) and "ALLOWED_HOSTS" not in os.environ:
            settings.ALLOWED_HOSTS.append(f"[{host}]" if ":" in host else host)
        admin, password = ensure_admin()
        super().serving(url)
        self.stdout.write(f"Sign in as {ADMIN!r}; the password is {password}. Or open this link, which works once:")
        self.stdout.write(url.rstrip("/") + reverse("sign-in-by-link", args=[token_for(admin)]))
        self.stdout.flush()


def ensure_admin() -> tuple[User, str]:
    """Return the demo's administrator and what to say of the password."""
    admin, is_new = User.objects.get_or_create(username=ADMIN, defaults={"is_staff": True, "is_superuser": True})
    if password := settings.DEMO_ADMIN_PASSWORD:
        said = "that of DEMO_ADMIN_PASSWORD"
    elif is_new or not admin.password:
        said = password = secrets.token_urlsafe(9)
    else:
        return admin, "as before (DEMO_ADMIN_PASSWORD sets another)"
    if not admin.check_password(password):
        admin.set_password(password)
        admin.save(update_fields=["password"])
    return admin, said
