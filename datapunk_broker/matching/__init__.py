"""Which subscriptions get a message: rules compiled once, then matched without trying them one by one."""

from datapunk_broker.matching.binding import MAX_KEY_BYTES, check_binding, check_routing_key
from datapunk_broker.matching.compiled import compile_rules, explain
from datapunk_broker.matching.rule import Matcher, Rule, default_rules

__all__ = (
    "MAX_KEY_BYTES",
    "Matcher",
    "Rule",
    "check_binding",
    "check_routing_key",
    "compile_rules",
    "default_rules",
    "explain",
)
