"""Refuse what cannot be matched, before it is saved or published."""

from reprlib import repr as short

from datapunk_broker.envelope import Headers
from datapunk_broker.exceptions import BindingInvalidError, PayloadInvalidError
from datapunk_broker.matching.arguments import MODES, X_MATCH, Wish
from datapunk_broker.payload import check_headers, check_text
from datapunk_broker.states import TopicType

MAX_KEY_BYTES = 255
"""The longest routing key or pattern, in bytes of UTF-8."""


def check_routing_key(key: str) -> None:
    """Refuse a key with NUL or a lone surrogate, or of more than 255 bytes (PayloadInvalidError)."""
    check_text("routing_key", key, MAX_KEY_BYTES)


def check_binding(type: TopicType, routing_key: str | None, headers: Headers | None) -> None:  # noqa: A002
    """Refuse a binding that its topic cannot match by (BindingInvalidError); None stands for "not given"."""
    problem = _misfit(type, routing_key, headers) or _unkept(routing_key, headers)
    if problem is None and headers is not None and Wish.of(headers) is None:
        problem = f"x-match is {short(headers[X_MATCH])}. Use one of {', '.join(MODES)}."
    if problem is not None:
        raise BindingInvalidError(problem)


def _misfit(kind: TopicType, routing_key: str | None, headers: Headers | None) -> str | None:
    if kind == TopicType.FANOUT:
        return (
            "A fanout topic gives every subscription each message, so it takes no bindings. "
            "Leave them out, or make the topic direct, topic or headers."
        )
    if kind == TopicType.HEADERS:
        if routing_key is not None:
            return "A headers topic does not look at routing keys. Leave routing_key out and give headers."
        if headers is None:
            return 'A headers topic binds by headers. Give them, such as {"x-match": "any", "tier": "gold"}.'
    elif headers is not None:
        return f"A {kind} topic does not look at headers. Leave them out and give a routing_key."
    elif routing_key is None:
        return f"A {kind} topic binds by routing key. Give a routing_key; the empty one is a key, too."
    return None


def _unkept(routing_key: str | None, headers: Headers | None) -> str | None:
    try:
        if routing_key is not None:
            check_routing_key(routing_key)
        if headers is not None:
            check_headers(headers)
    except PayloadInvalidError as error:
        return f"A binding cannot keep this. {error}."
    return None
