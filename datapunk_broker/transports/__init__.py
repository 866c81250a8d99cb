"""How a delivery reaches its subscriber: a transport takes values and says what became of each.

A transport knows no table and settles nothing; the pump does, by the outcomes that are reported to it.
"""

from datapunk_broker.transports.base import Endpoint, Errand, Outcome, Report, Transport

__all__ = ["Endpoint", "Errand", "Outcome", "Report", "Transport"]
