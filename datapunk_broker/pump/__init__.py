"""The pump: claim, hand to a transport, settle, one batch after another, until nothing is due."""

from datapunk_broker.pump.live import deliver_live
from datapunk_broker.pump.pump import Pump, pump_for
from datapunk_broker.pump.wake import stopping, wake

__all__ = ["Pump", "deliver_live", "pump_for", "stopping", "wake"]
