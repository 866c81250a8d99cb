"""A grant: what a user or group may do with some topics."""

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import Q


class TopicGrant(models.Model):
    """Rights to the topics whose name is ``topic`` or matches it as a pattern (``orders.*``, ``#``)."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True)
    group = models.ForeignKey(Group, on_delete=models.CASCADE, null=True, blank=True)
    topic = models.CharField(max_length=200)
    publish = models.BooleanField(default=False)
    subscribe = models.BooleanField(default=False)
    manage = models.BooleanField(default=False)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(user__isnull=True, group__isnull=False) | Q(user__isnull=False, group__isnull=True),
                name="broker_grant_holder",
            ),
        )
        indexes = (models.Index(fields=["topic"], name="broker_grant_topic"),)

    def __str__(self) -> str:
        return f"{self.user or self.group} on {self.topic}"
