"""What handlers do to the project's own database."""

from django.db import models


class Effect(models.Model):
    """One effect of one call of a handler; two calls leave two."""

    value = models.IntegerField()
    pid = models.IntegerField(default=0)

    def __str__(self) -> str:
        return str(self.value)
