"""What the demo's handlers leave behind, and what they are told, so that a person sees them run and fail."""

from django.db import models


class Note(models.Model):
    """A line that a handler wrote about a message, or about a batch of them."""

    subscription = models.CharField(max_length=200)
    text = models.CharField(max_length=500)
    written_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"{self.subscription}: {self.text}"


class Fault(models.Model):
    """A subscription whose handler fails as long as this row is there."""

    subscription = models.CharField(max_length=200, unique=True)

    class Meta:
        ordering = ("subscription",)

    def __str__(self) -> str:
        return self.subscription
