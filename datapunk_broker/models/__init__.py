"""The tables. Rules over many rows are in ``engine``; what is here is shape, constraints and query words."""

from datapunk_broker.models.attempt import Attempt
from datapunk_broker.models.binding import Binding
from datapunk_broker.models.dead_letter import DeadLetter
from datapunk_broker.models.delivery import Delivery
from datapunk_broker.models.message import Message
from datapunk_broker.models.settled_delivery import SettledDelivery
from datapunk_broker.models.standby import Standby
from datapunk_broker.models.stream import StreamEntry, StreamHead
from datapunk_broker.models.subscription import Subscription
from datapunk_broker.models.topic import Topic
from datapunk_broker.models.topic_grant import TopicGrant
from datapunk_broker.models.traffic import LATENCY_BOUNDS, Traffic, TrafficMinute, TrafficTotal

__all__ = [
    "LATENCY_BOUNDS",
    "Attempt",
    "Binding",
    "DeadLetter",
    "Delivery",
    "Message",
    "SettledDelivery",
    "Standby",
    "StreamEntry",
    "StreamHead",
    "Subscription",
    "Topic",
    "TopicGrant",
    "Traffic",
    "TrafficMinute",
    "TrafficTotal",
]
