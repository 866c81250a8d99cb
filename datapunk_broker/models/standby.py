"""The pump that waits for the next message, one a transport."""

from django.db import models

from datapunk_broker.models.fields import choice
from datapunk_broker.states import Transport


class Standby(models.Model):
    """Which pump lingers when there is nothing to do; the others end, so that idle pumps hold one worker slot."""

    transport = choice(Transport, primary_key=True)
    holder = models.UUIDField()
    until = models.DateTimeField()

    def __str__(self) -> str:
        return str(self.transport)
