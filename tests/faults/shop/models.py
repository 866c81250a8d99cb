"""What handlers do to the project's own database."""

from django.db import models


class Effect(models.Model):
    """One effect of one call of a handler; two calls leave two. number: of the message."""

    subscription = models.CharField(max_length=200)
    number = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.subscription} {self.number}"
