"""The form of a subscription: empty options say what holds instead, and a secret goes in and never comes out."""

from typing import Any, ClassVar

from django import forms

from datapunk_broker.admin.base import database
from datapunk_broker.admin.fields import say_default
from datapunk_broker.admin.saving import VerbForm
from datapunk_broker.conf import get_config
from datapunk_broker.models import Subscription, Topic
from datapunk_broker.states import Transport

INHERITED = (
    *("max_attempts", "retry_strategy", "retry_delay", "backoff_factor", "max_retry_delay", "jitter"),
    *("ack_deadline", "timeout", "batch_size"),
)
"""Options that the settings hold where one is empty."""

PLACEHOLDERS = {
    "breaker": "as in the settings",
    "batch_window": "does not wait",
    "max_in_flight": "no limit",
}

HELP = {
    "transport": "Handlers are functions of the project; pull subscriptions are asked for their messages.",
    "ordering": "One after the other within an ordering key.",
    "retry_delay": "Seconds.",
    "max_retry_delay": "Seconds.",
    "jitter": "From 0 to 1: how much of a wait is drawn at random.",
    "ack_deadline": "Seconds that a claim lasts.",
    "timeout": "Seconds that a handler may run.",
    "batch_window": "Seconds that a batch waits to fill.",
    "breaker": '{"failures": 5, "open_seconds": 30}, or false for none.',
}


class SubscriptionForm(VerbForm[Subscription]):
    """A subscription's options."""

    names: ClassVar[dict[str, str]] = {"secret": "new_secret"}

    new_secret = forms.CharField(
        label="New secret",
        required=False,
        strip=False,
        max_length=200,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="A webhook's signing secret. It is written only; empty keeps the one there is.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        config = get_config()
        for name in self.fields.keys() & set(INHERITED):
            say_default(self.fields[name], getattr(config, name), "settings")
        for name in self.fields.keys() & PLACEHOLDERS.keys():
            self.fields[name].widget.attrs |= {"placeholder": PLACEHOLDERS[name], "rows": 2}
        for name in self.fields.keys() & HELP.keys():
            self.fields[name].help_text = HELP[name]
        if "delivery_mode" in self.fields:
            say_default(self.fields["delivery_mode"], self._inherited_mode(), "topic")
        if "transport" in self.fields:
            transport: Any = self.fields["transport"]
            transport.choices = [choice for choice in transport.choices if choice[0] != Transport.STREAM]

        if "topic" in self.fields:
            links = ("can_add_related", "can_change_related", "can_delete_related", "can_view_related")
            for link in links:
                setattr(self.fields["topic"].widget, link, False)

    def _inherited_mode(self) -> str:
        topic = Topic.objects.using(database()).filter(pk=self.instance.topic_id).first()
        own = topic.delivery_mode if topic else None
        return own or str(get_config().delivery_mode)
