"""Hold back what is behind a message that failed, where order is kept; nothing else."""

from typing import Any

from datapunk_broker.envelope import Received
from datapunk_broker.transports.base import Errand, Outcome


class HeldBack:
    """The ordering keys of one errand that wait for a message of theirs to come again."""

    def __init__(self, errand: Errand) -> None:
        self._holds = errand.ordered and errand.holds_back
        self._keys: set[str] = set()

    def waits(self, message: Received[Any]) -> bool:
        """Return whether a message has to wait."""
        return message.ordering_key in self._keys

    def judge(self, message: Received[Any], outcome: Outcome) -> Outcome:
        """Return the outcome as it counts: in a batch what came behind a failure of its key comes again after it."""
        if outcome.error is None and self.waits(message):
            return Outcome(message.ack_id, started=False)
        if self._holds and outcome.error is not None and message.ordering_key is not None:
            self._keys.add(message.ordering_key)
        return outcome
