"""Links from one room of the admin to another, and the marks that stand for a state."""

from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

MOOD = {
    "active": "good",
    "paused": "wait",
    "disabled": "bad",
    "deleted": "bad",
    "closed": "good",
    "open": "bad",
    "half open": "wait",
    "acked": "good",
    "dead": "bad",
    "expired": "bad",
    "dropped": "bad",
    "scheduled": "wait",
    "claimed": "wait",
}
"""Which colour a state has; the word is always there too."""


def page_of(model: str, pk: object, verb: str = "change") -> str:
    """Return the address of a row's page."""
    return reverse(f"admin:datapunk_broker_{model}_{verb}", args=[pk])


def list_of(model: str, **params: Any) -> str:
    """Return the address of a list, narrowed by its filters."""
    url = reverse(f"admin:datapunk_broker_{model}_changelist")
    return f"{url}?{urlencode(params)}" if params else url


def link(url: str, text: object) -> SafeString:
    """Return a link."""
    return format_html('<a href="{}">{}</a>', url, text)


def mark(state: str) -> SafeString:
    """Return a state as a word with a dot of its colour."""
    word = state.replace("_", " ")
    return format_html('<span class="broker-mark broker-{}">{}</span>', MOOD.get(word, "plain"), word)


def code(text: str) -> SafeString:
    """Return text that is kept exactly as it is: spaces, and nothing at all, can be seen."""
    if not text:
        return format_html('<span class="broker-quiet">{}</span>', "(empty)")
    return format_html('<code class="broker-exact">{}</code>', text)
