"""Webhooks: a POST of the published bytes, signed as Standard Webhooks says, to addresses that are public.

What makes the requests is the extra ``webhooks``; nothing here imports it before there is a message to take.
"""

from datapunk_broker.transports.webhook.endpoint import check_endpoint, is_installed
from datapunk_broker.transports.webhook.signing import new_secret
from datapunk_broker.transports.webhook.transport import WebhookTransport

__all__ = ["WebhookTransport", "check_endpoint", "is_installed", "new_secret"]
