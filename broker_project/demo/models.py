"""What the demo's handlers leave behind, so that a person sees that they ran."""

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
