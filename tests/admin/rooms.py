"""What the tests of the admin share: its addresses, staff with some permissions, and what a page says."""

from collections.abc import Mapping
from html import unescape
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from datapunk_broker.models import Subscription, Topic

ROOMS = ("topic", "subscription", "message", "deadletter", "topicgrant")


def url_of(model: str, page: str = "changelist", *args: Any) -> str:
    return reverse(f"admin:datapunk_broker_{model}_{page}", args=args)


def staff(client: Client, *permissions: str) -> User:
    """Sign in somebody of the staff who has these permissions alone, such as "view_message"."""
    user, _ = User.objects.get_or_create(username="-".join(("staff", *permissions)), is_staff=True)
    granted = Permission.objects.filter(content_type__app_label="datapunk_broker", codename__in=permissions)
    assert len(granted) == len(permissions)
    user.user_permissions.set(granted)
    client.force_login(user)
    return user


def page(client: Client, url: str, params: Mapping[str, Any] | None = None, status: int = 200) -> str:
    response = client.get(url, params)
    assert response.status_code == status, response
    return unescape(response.content.decode())


def posted(client: Client, url: str, data: Mapping[str, Any], status: int = 200) -> str:
    """Post, follow where it leads, and return what the page says in the end."""
    response = client.post(url, data, follow=True)
    assert response.status_code == status, response
    return unescape(response.content.decode())


def errors_of(client: Client, url: str, data: Mapping[str, Any]) -> dict[str, str]:
    """Post a form that is refused, and return its errors by field."""
    response = client.post(url, data)
    assert response.status_code == 200, "it was not refused"
    form = response.context["adminform"].form
    return {name: " ".join(errors) for name, errors in form.errors.items()}


def acted(client: Client, model: str, action: str, *pks: Any, **more: Any) -> str:
    """Run an action on some rows of a list."""
    return posted(client, url_of(model), {"action": action, "_selected_action": pks, **more})


def ids_on(client: Client, model: str, **params: Any) -> set[Any]:
    """Return the ids of the rows that a list shows."""
    response = client.get(url_of(model), params)
    assert response.status_code == 200, response
    return {row.pk for row in response.context["cl"].result_list}


def logged() -> list[str]:
    """Return what the admin's history says, the last first."""
    return [f"{entry.object_repr}: {entry.get_change_message()}" for entry in LogEntry.objects.all()]


def topic_form(name: str = "orders", **options: Any) -> dict[str, Any]:
    """What the form of a topic sends."""
    filled = {"name": name, "type": "fanout", "stream": "on", "history": "on", "persistent": "unknown"}
    return {**filled, **options}


def subscription_form(
    topic: Topic, name: str = "billing", bindings: tuple[Mapping[str, Any], ...] = (), **options: Any
) -> dict[str, Any]:
    """What the form of a new subscription sends; a binding is its fields."""
    filled = {"name": name, "topic": topic.pk, "transport": "pull", "mode": "individual"}
    return {**filled, **binding_rows(bindings), **options}


def change_form(row: Subscription, bindings: tuple[Mapping[str, Any], ...] = (), **options: Any) -> dict[str, Any]:
    """What the form of a subscription that is there sends, with bindings added to those it has."""
    kept: list[Mapping[str, Any]] = [
        {"id": binding.pk, "by": "routing_key", "routing_key": binding.routing_key} for binding in row.bindings.all()
    ]
    initial = len(kept)
    rows = binding_rows((*kept, *bindings), initial=initial, subscription=row.pk)
    return {"transport": row.transport, "mode": row.mode, **rows, **options}


def binding_rows(
    bindings: tuple[Mapping[str, Any], ...], *, initial: int = 0, subscription: Any = ""
) -> dict[str, Any]:
    rows = {"bindings-TOTAL_FORMS": len(bindings), "bindings-INITIAL_FORMS": initial}
    for number, binding in enumerate(bindings):
        own = {"by": "", "routing_key": "", "headers": "", "subscription": subscription, **binding}
        rows |= {f"bindings-{number}-{name}": value for name, value in own.items()}
    return rows
