"""Talk to the API as somebody, by paths below its root."""

from typing import Any

import msgspec
from django.contrib.auth.models import AbstractUser, Group, Permission, User
from django.http import HttpResponse
from django.test import Client
from rest_framework.authtoken.models import Token

from datapunk_broker.models import TopicGrant

ROOT = "/broker/api/v1/"
JSON = "application/json"


class Api:
    """A client with somebody's token, or with nobody's."""

    def __init__(self, user: AbstractUser | None = None) -> None:
        self.client = Client()
        self.user = user
        self.headers = {"Authorization": f"Token {Token.objects.get_or_create(user=user)[0].key}"} if user else {}

    def get(self, path: str, **query: Any) -> HttpResponse:
        address = path if path.startswith("http") else f"{ROOT}{path}"
        return self.client.get(address, query or None, headers=self.headers)

    def post(self, path: str, body: Any = None, **more: Any) -> HttpResponse:
        return self.send("POST", path, body, **more)

    def patch(self, path: str, body: Any = None) -> HttpResponse:
        return self.send("PATCH", path, body)

    def delete(self, path: str) -> HttpResponse:
        return self.client.delete(f"{ROOT}{path}", headers=self.headers)

    def send(
        self, method: str, path: str, body: Any = None, kind: str = JSON, headers: dict[str, str] | None = None
    ) -> HttpResponse:
        """Send a body: bytes as they are, anything else as JSON."""
        sent = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        given = {**self.headers, **(headers or {})}
        return self.client.generic(method, f"{ROOT}{path}", sent, kind, headers=given)


def somebody(*permissions: str, name: str = "ann") -> User:
    """A user with these of Django's permissions on the broker."""
    user = User.objects.create_user(name, password="pass")
    app = Permission.objects.filter(content_type__app_label="datapunk_broker")
    user.user_permissions.set(app.filter(codename__in=permissions))
    assert user.user_permissions.count() == len(permissions)
    return user


def granted(topic: str, *actions: str, name: str = "ann", through: str = "user") -> User:
    """A user to whom, or to whose group, a topic or pattern was granted."""
    user = User.objects.create_user(name, password="pass")
    holder: dict[str, Any] = {"user": user}
    if through == "group":
        holder = {"group": Group.objects.create(name=f"{name}'s")}
        user.groups.add(holder["group"])
    TopicGrant.objects.create(topic=topic, **dict.fromkeys(actions, True), **holder)
    return user
