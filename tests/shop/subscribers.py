"""The handlers that workers find here: by their path, and by the name under which they are declared."""

import os
import signal
import threading
from typing import Any

from datapunk_broker import broker
from tests.shop.models import Effect

OPEN = "SHOP_IS_OPEN"
"""Set for a worker's process alone: what is declared here, ``migrate`` would make in the database of every test."""

Message = broker.Received[Any]


def bill(message: Message) -> None:
    """Leave an effect that tells which process it was."""
    Effect.objects.create(value=message.payload, pid=os.getpid())


def bill_slowly(message: Message) -> None:
    """Take a while over it."""
    threading.Event().wait(0.05)
    bill(message)


def bill_at_leisure(message: Message) -> None:
    """Take half a second over it."""
    threading.Event().wait(0.5)
    bill(message)


def bill_and_die(message: Message) -> None:
    """Die in the first process that comes to the third message, its effect being written."""
    bill(message)
    if message.payload == 3 and message.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)


if os.environ.get(OPEN):

    @broker.subscriber("orders", name="declared")
    def bill_the_opposite(message: broker.Received[int]) -> None:
        """Leave the opposite effect."""
        Effect.objects.create(value=-message.payload, pid=os.getpid())
