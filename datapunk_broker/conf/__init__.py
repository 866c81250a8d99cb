"""The broker's settings and declarations: from one dict, frozen, and a wrong one is named."""

from datapunk_broker.conf.declarations import BindingConfig, SubscriptionConfig, TopicConfig
from datapunk_broker.conf.problems import Problem, problems
from datapunk_broker.conf.readers import is_name
from datapunk_broker.conf.rules import check_lease, check_subscription, check_topic
from datapunk_broker.conf.settings import KEYS, SETTING, BrokerConfig, get_config

__all__ = (
    "KEYS",
    "SETTING",
    "BindingConfig",
    "BrokerConfig",
    "Problem",
    "SubscriptionConfig",
    "TopicConfig",
    "check_lease",
    "check_subscription",
    "check_topic",
    "get_config",
    "is_name",
    "problems",
)
