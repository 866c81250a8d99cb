"""Bindings are refused with a way out, default to what their topic gives, and explain themselves."""

from typing import Any

import pytest

from datapunk_broker.exceptions import BindingInvalidError, PayloadInvalidError
from datapunk_broker.matching import (
    Rule,
    check_binding,
    check_routing_key,
    compile_rules,
    default_rules,
    explain,
)
from datapunk_broker.states import TopicType

FANOUT, DIRECT, TOPIC, HEADERS = TopicType.FANOUT, TopicType.DIRECT, TopicType.TOPIC, TopicType.HEADERS


@pytest.mark.parametrize(
    ("kind", "key", "headers", "way_out"),
    [
        (FANOUT, "a", None, "Leave them out"),
        (FANOUT, "", None, "Leave them out"),
        (FANOUT, None, {}, "Leave them out"),
        (FANOUT, None, None, "Leave them out"),
        (HEADERS, None, None, "Give them"),
        (HEADERS, "a", {"a": 1}, "Leave routing_key out"),
        (HEADERS, None, {"x-match": "ALL"}, "Use one of all, any, all-with-x, any-with-x"),
        (HEADERS, None, {"x-match": None}, "Use one of"),
        (HEADERS, None, {"x-match": ["all"]}, "Use one of"),
        (HEADERS, None, {"x-match": True}, "Use one of"),
        (HEADERS, None, {"a": "\x00"}, "NUL"),
        (HEADERS, None, {"\ud800": 1}, "surrogate"),
        (HEADERS, None, {"a": float("nan")}, "JSON cannot say"),
        (HEADERS, None, [1], "object"),
        (DIRECT, None, None, "Give a routing_key"),
        (DIRECT, "a", {"a": 1}, "Leave them out"),
        (TOPIC, None, None, "Give a routing_key"),
        (TOPIC, None, {"a": 1}, "give a routing_key"),
        (TOPIC, "a.\x00", None, "NUL"),
        (TOPIC, "a.\udfff", None, "surrogate"),
        (TOPIC, "\u00e9" * 128, None, "255"),
        (DIRECT, 5, None, "text"),
    ],
)
def test_a_binding_that_cannot_be_matched_is_refused_with_a_way_out(
    kind: TopicType, key: Any, headers: Any, way_out: str
) -> None:
    with pytest.raises(BindingInvalidError, match=way_out) as refused:
        check_binding(kind, key, headers)

    assert refused.value.code == "binding_invalid"


@pytest.mark.parametrize(
    ("kind", "key", "headers"),
    [
        (DIRECT, "", None),
        (DIRECT, "#", None),
        (TOPIC, ".".join("#" * 15), None),
        (TOPIC, "\u00e9" * 127 + "a", None),
        (TOPIC, " padded ", None),
        (HEADERS, None, {}),
        (HEADERS, None, {"x-match": "any-with-x", "x-tier": None, "n": {"deep": [1, "", False]}}),
    ],
)
def test_a_binding_that_can_be_matched_is_taken(kind: TopicType, key: str | None, headers: Any) -> None:
    check_binding(kind, key, headers)


@pytest.mark.parametrize("key", ["", ".", "*.#", "a" * 255, "\u00e9" * 127, "caf\u00e9 \U0001f600"])
def test_a_routing_key_may_be_any_text_of_255_bytes(key: str) -> None:
    check_routing_key(key)


@pytest.mark.parametrize("key", ["a" * 256, "\u00e9" * 128, "\x00", "a\ud800", None, 5, b"a"])
def test_a_routing_key_that_cannot_be_stored_is_refused(key: Any) -> None:
    with pytest.raises(PayloadInvalidError) as refused:
        check_routing_key(key)

    assert refused.value.field == "routing_key"


@pytest.mark.parametrize(
    ("kind", "key", "headers", "matches"),
    [
        (FANOUT, "whatever", {}, True),
        (DIRECT, "billing", {}, True),
        (DIRECT, "", {}, False),
        (DIRECT, "billing.eu", {}, False),
        (TOPIC, "", {}, True),
        (TOPIC, "a.b.c", {}, True),
        (HEADERS, "", {}, True),
        (HEADERS, "", {"a": 1}, True),
    ],
)
def test_a_subscription_without_bindings_gets_what_its_topic_gives_by_default(
    kind: TopicType, key: str, headers: dict[str, Any], *, matches: bool
) -> None:
    rule = default_rules(kind, 12, "billing")

    assert compile_rules(kind, [rule]).match(key, headers) == ((12,) if matches else ())


@pytest.mark.parametrize(
    ("kind", "rule", "key", "headers", "expected"),
    [
        (FANOUT, Rule(1), "a", {}, (True, "a fanout topic gives every subscription each message")),
        (DIRECT, Rule(1, "a"), "a", {}, (True, "'a' equals 'a'")),
        (DIRECT, Rule(1, "a"), "b", {}, (False, "'a' does not equal 'b'")),
        (TOPIC, Rule(1, "eu.*"), "eu.paid", {}, (True, "'eu.*' matches 'eu.paid'")),
        (TOPIC, Rule(1, "eu.*"), "us.paid", {}, (False, "'eu.*' does not match 'us.paid'")),
        (TOPIC, Rule(1), "a", {}, (False, "the binding has no routing key, so it matches nothing")),
        (
            HEADERS,
            Rule(1, headers={"tier": "gold"}),
            "",
            {"tier": "silver"},
            (False, "header 'tier' is 'silver', the binding wants 'gold'"),
        ),
        (
            HEADERS,
            Rule(1, headers={"n": 1}),
            "",
            {"n": "1"},
            (False, "header 'n' is '1', the binding wants 1"),
        ),
        (HEADERS, Rule(1, headers={"n": 1}), "", {}, (False, "header 'n' is missing, the binding wants 1")),
        (HEADERS, Rule(1, headers={"n": None}), "", {}, (False, "header 'n' is missing")),
        (
            HEADERS,
            Rule(1, headers={"n": None, "m": 1}),
            "",
            {"n": 5, "m": 1},
            (True, "header 'n' is 5; header 'm' is 1"),
        ),
        (
            HEADERS,
            Rule(1, headers={"x-match": "any", "a": 1, "b": 2}),
            "",
            {"b": 2},
            (True, "header 'b' is 2"),
        ),
        (
            HEADERS,
            Rule(1, headers={"x-match": "any", "a": 1, "b": 2}),
            "",
            {"b": 3},
            (False, "header 'a' is missing, the binding wants 1; header 'b' is 3, the binding wants 2"),
        ),
        (
            HEADERS,
            Rule(1, headers={"x-a": 1}),
            "",
            {},
            (True, "the binding names no header to compare, and all of none matches every message"),
        ),
        (
            HEADERS,
            Rule(1, headers={"x-match": "any"}),
            "",
            {},
            (False, "the binding names no header to compare, and any of none matches nothing"),
        ),
        (
            HEADERS,
            Rule(1, "#"),
            "",
            {},
            (False, "the binding has no headers that can be compared, so it matches nothing"),
        ),
    ],
)
def test_why_a_rule_matches_or_not_is_said_in_a_sentence(
    kind: TopicType, rule: Rule, key: str, headers: dict[str, Any], expected: tuple[bool, str]
) -> None:
    assert explain(kind, rule, key, headers) == expected
