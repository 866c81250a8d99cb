"""Headers find their rules: strictly typed, by all or any of the arguments."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapunk_broker.matching import Rule, compile_rules, explain
from datapunk_broker.states import TopicType
from tests.words.slow import matched, slowly_compares, work

HEADERS = TopicType.HEADERS

TYPED = [
    (1, 1, True),
    (1, 1.0, True),
    (10**30, 10**30, True),
    (10**30, 10**30 + 1, False),
    (1, "1", False),
    (True, 1, False),
    (1, True, False),
    (0, False, False),
    (False, 0.0, False),
    (True, True, True),
    (True, "true", False),
    ("", "", True),
    ("", 0, False),
    ("", None, False),
    ("gold", "Gold", False),
    ([1, 2], [1, 2], True),
    ([1, 2], [2, 1], False),
    ([1], [True], False),
    ([[0]], [[False]], False),
    ([], {}, False),
    ([], "", False),
    ({"a": 1, "b": [None]}, {"b": [None], "a": 1.0}, True),
    ({"a": 1}, {"a": True}, False),
    ({"a": None}, {}, False),
    ([None], [0], False),
]


@pytest.mark.parametrize(("wanted", "found", "matches"), TYPED)
def test_header_values_are_equal_when_they_are_the_same_json(wanted: Any, found: Any, *, matches: bool) -> None:
    for mode in ("all", "any"):
        assert matched(HEADERS, Rule(1, headers={"x-match": mode, "h": wanted}), headers={"h": found}) is matches


ARGUMENTS: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}, True),
    ({"a": 1, "b": 2}, {"a": 1}, False),
    ({"x-match": "all", "a": 1, "b": 2}, {"a": 1, "b": 3}, False),
    ({"x-match": "any", "a": 1, "b": 2}, {"b": 2}, True),
    ({"x-match": "any", "a": 1, "b": 2}, {"a": 2, "b": 1}, False),
    ({"x-match": "any", "a": 1}, {}, False),
    ({}, {}, True),
    ({}, {"a": 1}, True),
    ({"x-match": "all"}, {}, True),
    ({"x-match": "any"}, {}, False),
    ({"x-match": "any"}, {"a": 1}, False),
    ({"x-match": "all-with-x"}, {}, True),
    ({"x-match": "any-with-x"}, {"x-match": "any-with-x"}, False),
    ({"x-a": 1}, {}, True),
    ({"x-a": 1, "b": 2}, {"b": 2}, True),
    ({"x-match": "any", "x-a": 1}, {"x-a": 1}, False),
    ({"x-match": "any", "x-a": 1, "b": 2}, {"x-a": 1}, False),
    ({"x-match": "all-with-x", "x-a": 1}, {}, False),
    ({"x-match": "all-with-x", "x-a": 1}, {"x-a": 1}, True),
    ({"x-match": "any-with-x", "x-a": 1, "b": 2}, {"x-a": 1}, True),
    ({"X-a": 1}, {}, False),
    ({"X-a": 1}, {"X-a": 1}, True),
    ({"a": None}, {"a": "whatever"}, True),
    ({"a": None}, {"a": None}, True),
    ({"a": None}, {}, False),
    ({"x-match": "any", "a": None, "b": 2}, {"a": [1]}, True),
    ({"a": 1}, {"A": 1}, False),
]


@pytest.mark.parametrize(("arguments", "headers", "matches"), ARGUMENTS)
def test_header_arguments_match_as_x_match_says(
    arguments: dict[str, Any], headers: dict[str, Any], *, matches: bool
) -> None:
    assert matched(HEADERS, Rule(1, headers=arguments), headers=headers) is matches


values = st.recursive(
    st.none() | st.booleans() | st.sampled_from([0, 1, 1.0, "", "1", "a"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=3,
)
header_names = st.sampled_from(["a", "b", "c", "x-a", "X-a"])
modes = st.sampled_from([{}, *({"x-match": mode} for mode in ("all", "any", "all-with-x", "any-with-x"))])
bindings = st.builds(lambda mode, rest: {**rest, **mode}, modes, st.dictionaries(header_names, values, max_size=3))


@given(arguments=st.lists(bindings, max_size=8), headers=st.dictionaries(header_names, values, max_size=4))
def test_all_header_rules_at_once_agree_with_trying_each(
    arguments: list[dict[str, Any]], headers: dict[str, Any]
) -> None:
    rules = [Rule(number, headers=wanted) for number, wanted in enumerate(arguments)]

    assert compile_rules(HEADERS, rules).match("", headers) == tuple(
        number for number, wanted in enumerate(arguments) if slowly_compares(wanted, headers)
    )


@pytest.mark.parametrize("common_first", [True, False])
def test_ten_thousand_header_rules_are_not_tried_one_by_one(*, common_first: bool) -> None:
    def arguments(n: int) -> dict[str, Any]:
        common = {"format": "pdf", "region": n % 3}
        return {**common, "customer": n} if common_first else {"customer": n, **common}

    matcher = compile_rules(HEADERS, [Rule(n, headers=arguments(n)) for n in range(10_000)])
    headers = {**arguments(4711), "more": [1, 2]}

    assert matcher.match("", headers) == (4711,)
    assert work(lambda: matcher.match("", headers)) < 1000


@given(arguments=bindings, headers=st.dictionaries(header_names, values, max_size=4))
def test_an_explanation_agrees_with_the_matcher(arguments: dict[str, Any], headers: dict[str, Any]) -> None:
    matches, because = explain(HEADERS, Rule(1, headers=arguments), "", headers)

    assert matches is matched(HEADERS, Rule(1, headers=arguments), headers=headers)
    assert because
