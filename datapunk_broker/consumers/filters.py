"""Choose, of a topic's messages, those that one reader asked for."""

from dataclasses import dataclass

from datapunk_broker.consumers.items import Item
from datapunk_broker.envelope import Headers
from datapunk_broker.matching import Matcher, Rule, check_binding, compile_rules
from datapunk_broker.states import TopicType


@dataclass(frozen=True, slots=True)
class Filter:
    """By routing key, by headers, or by both; readers may ask for either whatever the topic's type."""

    by_key: Matcher | None
    by_headers: Matcher | None

    @classmethod
    def of(cls, topic_type: TopicType, routing_key: str | None, headers: Headers | None) -> "Filter | None":
        """Return the filter, None when everything is asked for. Raises BindingInvalidError.

        On a DIRECT topic ``routing_key`` is the exact key, else a pattern.
        """
        if routing_key is None and headers is None:
            return None
        key_type = TopicType.DIRECT if topic_type == TopicType.DIRECT else TopicType.TOPIC
        return cls(
            None if routing_key is None else _matcher(key_type, routing_key, None),
            None if headers is None else _matcher(TopicType.HEADERS, None, headers),
        )

    def takes(self, item: Item) -> bool:
        """Return whether the reader gets this message."""
        return all(m.match(item.routing_key, item.headers) for m in (self.by_key, self.by_headers) if m is not None)


def _matcher(kind: TopicType, routing_key: str | None, headers: Headers | None) -> Matcher:
    check_binding(kind, routing_key, headers)
    return compile_rules(kind, [Rule(0, routing_key=routing_key, headers=headers)])
