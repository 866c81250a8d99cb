"""Take messages to an endpoint, many at once; those of one ordering key one after the other."""

from typing import Any

import msgspec

from datapunk_broker.envelope import Received
from datapunk_broker.exceptions import ConfigInvalidError
from datapunk_broker.transports.base import Endpoint, Errand, Report
from datapunk_broker.transports.coroutines import Calls
from datapunk_broker.transports.webhook.endpoint import MISSING, is_installed

CONCURRENCY = 32
"""How many requests of one pump are under way at once; ``max_in_flight`` bounds those of a subscription."""


class WebhookTransport:
    """The transport ``webhook``."""

    def payload_type(self, subscription: str, topic: str, handler: str, *, batch: bool) -> Any:  # noqa: ARG002 - of all alike
        """Return that payloads stay bytes; raises ConfigInvalidError where no request can be made."""
        if not is_installed():
            raise ConfigInvalidError("transport", MISSING)
        return msgspec.Raw

    def deliver(self, errand: Errand, report: Report) -> None:
        """Post each message that its lease leaves time for."""
        from datapunk_broker.transports.webhook.client import client  # noqa: PLC0415 - 0.2 s, and few have webhooks

        endpoint, seconds = errand.endpoint or Endpoint(""), errand.timeout

        async def post(message: Received[Any]) -> None:
            await client().post(endpoint, message, seconds)

        Calls(post, errand, report, CONCURRENCY).run()
