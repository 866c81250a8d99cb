"""A topic: a name that messages are published to, and the rules for all of them."""

import secrets
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from datapunk_broker.conf import is_name
from datapunk_broker.models.fields import choice, inherited_choice, one_of
from datapunk_broker.states import DeliveryMode, Overflow, TopicType


def new_routing_version() -> int:
    """Return a version that no topic ever had."""
    return secrets.randbits(62)


class TopicQuerySet(models.QuerySet["Topic"]):
    """The words for topics."""

    def live(self) -> "TopicQuerySet":
        """Return those that are not deleted."""
        return self.filter(deleted_at=None)

    def named(self, *names: str) -> "TopicQuerySet":
        """Return those that are called so; what is no name at all, no topic is called, and no database is asked."""
        return self.filter(name__in=[name for name in names if is_name(name)])

    def bump_routing(self) -> int:
        """Make every publisher compile these topics' bindings anew; waits for no publisher.

        The version is random: a counter could come round to a value that a rolled-back transaction had shown.
        """
        return self.update(routing_version=new_routing_version())


class RoutingTopicQuerySet(TopicQuerySet):
    """Bumps what it writes: publishers compile nearly all of a topic, and it costs no statement."""

    def update(self, **changes: Any) -> int:
        """Update them."""
        return super().update(**{"routing_version": new_routing_version(), **changes})


class Topic(models.Model):
    """One topic; a NULL option takes the settings' default.

    However it is written, publishers read it anew; ``plain`` is for whoever bumps once for several writes.
    """

    name = models.CharField(max_length=200)
    type = choice(TopicType)
    delivery_mode = inherited_choice(DeliveryMode)
    persistent = models.BooleanField(null=True, blank=True)
    max_message_size = models.PositiveIntegerField(null=True, blank=True, help_text=_("Bytes."))
    max_queue_size = models.PositiveIntegerField(
        null=True, blank=True, help_text=_("Unsettled deliveries of a subscription; 0 is no limit.")
    )
    overflow = inherited_choice(Overflow)
    max_subscribers = models.PositiveIntegerField(null=True, blank=True)
    retention_hours = models.FloatField(null=True, blank=True)
    compression_threshold = models.PositiveIntegerField(
        null=True, blank=True, help_text=_("Compress bodies of at least so many bytes; 0 never does.")
    )
    schema = models.JSONField(null=True, blank=True, help_text=_("JSON Schema that every payload must fit."))
    stream = models.BooleanField(default=True, help_text=_("Keep a stream for WebSocket and SSE readers."))
    dead_letter_topic = models.CharField(
        max_length=200, null=True, blank=True, help_text=_("Dead letters are published to this topic as well.")
    )
    history = models.BooleanField(default=True, help_text=_("Keep a row for each settled delivery."))
    routing_version = models.PositiveBigIntegerField(default=new_routing_version, editable=False)
    declared = models.JSONField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    deleted_at = models.DateTimeField(null=True, editable=False)

    objects = RoutingTopicQuerySet.as_manager()
    plain = TopicQuerySet.as_manager()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["name"], condition=Q(deleted_at=None), name="broker_topic_name"),
            models.CheckConstraint(condition=one_of("type", TopicType), name="broker_topic_type"),
            models.CheckConstraint(condition=one_of("delivery_mode", DeliveryMode), name="broker_topic_mode"),
            models.CheckConstraint(condition=one_of("overflow", Overflow), name="broker_topic_overflow"),
        )
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def save(self, **options: Any) -> None:
        """Save it with a routing version that it never had: the one that was read may be long out of date."""
        self.routing_version = new_routing_version()
        if options.get("update_fields"):
            options["update_fields"] = {*options["update_fields"], "routing_version"}
        super().save(**options)
