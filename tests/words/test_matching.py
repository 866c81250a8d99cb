"""A routing key finds its rules: RabbitMQ's examples, and a slow matcher to agree with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapunk_broker.matching import Rule, compile_rules
from datapunk_broker.states import TopicType
from tests.words.slow import matched, slowly_matches, work

FANOUT, DIRECT, TOPIC, HEADERS = TopicType.FANOUT, TopicType.DIRECT, TopicType.TOPIC, TopicType.HEADERS

PATTERNS = [
    ("", "#", True),
    ("", "#.#", True),
    ("", "", True),
    ("", "*", False),
    ("", "*.#", False),
    ("", "#.*", False),
    ("", "#.*.#", False),
    ("a.", "a.*", True),
    ("a.", "a.#", True),
    ("a", "a.#", True),
    ("a.", "a", False),
    ("a", "a.", False),
    ("a", "a.*", False),
    (".", "*.*", True),
    (".", "", False),
    (".", "*", False),
    (".", ".", True),
    ("..", "*.*", False),
    ("a..b", "a.*.b", True),
    ("a.b", "a.*.b", False),
    ("a", "#.*", True),
    ("a.b.c", "#.*", True),
    ("a.b", "#.*.*.*", False),
    ("stock", "stock.#", True),
    ("stock.nyse.ibm", "stock.#", True),
    ("stock.nyse.ibm", "stock.*", False),
    ("stock.nyse.ibm", "*.nyse.*", True),
    ("stock.nyse.ibm", "#.ibm", True),
    ("ibm", "#.ibm", True),
    ("ibm.x", "#.ibm", False),
    ("a.x.b.y.b", "a.#.b", True),
    ("a.b", "a.#.b", True),
    ("a.b.c", "a.#.b", False),
    ("aXb", "a#b", False),
    ("a#b", "a#b", True),
    ("##", "##", True),
    ("a.b", "##", False),
    ("a*", "a*", True),
    ("ab", "a*", False),
    ("a.*", "a.b", False),
    ("a.#", "a.b", False),
    ("a.*", "a.*", True),
    ("a.#", "a.*", True),
    ("#", "*", True),
    ("*", "#.*", True),
    ("#", "a", False),
    ("*.*", "a.b", False),
    ("EU.paid", "eu.*", False),
    ("caf\u00e9", "cafe\u0301", False),
    ("caf\u00e9", "*", True),
    (" eu.paid", "eu.*", False),
]


@pytest.mark.parametrize(("key", "pattern", "matches"), PATTERNS)
def test_a_pattern_takes_the_keys_that_rabbitmq_gives_it(key: str, pattern: str, *, matches: bool) -> None:
    assert matched(TOPIC, Rule(7, pattern), key=key) is matches


def test_bindings_of_one_subscription_that_match_together_give_it_one_delivery() -> None:
    rules = [Rule(9, "eu.*"), Rule(9, "#"), Rule(2, "eu.#"), Rule(9, "eu.paid"), Rule(5, "us.*")]

    assert compile_rules(TOPIC, rules).match("eu.paid", {}) == (2, 9)


@pytest.mark.parametrize("kind", TopicType)
def test_without_rules_nobody_gets_anything(kind: TopicType) -> None:
    assert compile_rules(kind, []).match("a", {"a": 1}) == ()


def test_a_fanout_topic_gives_everyone_everything_in_ascending_order() -> None:
    everyone = compile_rules(FANOUT, [Rule(30), Rule(4), Rule(30), Rule(11)])

    assert everyone.match("", {}) == everyone.match("any.key", {"x": 1}) == (4, 11, 30)


def test_a_direct_key_is_compared_as_a_whole_and_the_empty_key_is_one() -> None:
    direct = compile_rules(DIRECT, [Rule(1, "a"), Rule(2, ""), Rule(4, "a"), Rule(3, "#"), Rule(1, "a")])

    assert [direct.match(key, {}) for key in ("a", "", "#", "A", "a.b")] == [(1, 4), (2,), (3,), (), ()]


def test_a_rule_that_does_not_fit_its_topic_matches_nothing_and_fails_nobody() -> None:
    assert not matched(DIRECT, Rule(1, headers={"a": 1}), key="")
    assert not matched(TOPIC, Rule(1, headers={"a": 1}), key="")
    assert not matched(HEADERS, Rule(1, "#"), headers={"a": 1})
    assert not matched(HEADERS, Rule(1, headers={"x-match": "some"}), headers={"x-match": "some"})


words = st.sampled_from(["a", "b", "*", "#", "", "ab"])
keys = st.lists(words, max_size=8).map(".".join)


@given(patterns=st.lists(keys, max_size=12), key=keys)
def test_all_patterns_at_once_agree_with_trying_each(patterns: list[str], key: str) -> None:
    rules = [Rule(number, pattern) for number, pattern in enumerate(patterns)]

    assert compile_rules(TOPIC, rules).match(key, {}) == tuple(
        number for number, pattern in enumerate(patterns) if slowly_matches(pattern, key)
    )


def test_fifteen_hashes_against_thirty_one_words_cost_no_more_than_their_product() -> None:
    matcher = compile_rules(TOPIC, [Rule(1, ".".join(["#", "a"] * 15)), Rule(2, ".".join(["#"] * 15) + ".b")])
    key = ".".join(["a"] * 30 + ["c"])

    assert work(lambda: matcher.match(key, {})) < 15 * 2 * 31 * 20


def test_the_work_grows_with_the_length_of_the_key() -> None:
    matcher = compile_rules(TOPIC, [Rule(1, ".".join(["#", "a", "*"] * 10))])
    short, long = (".".join(["a"] * words) for words in (60, 120))

    assert work(lambda: matcher.match(long, {})) < 2.5 * work(lambda: matcher.match(short, {}))


def test_ten_thousand_patterns_are_not_tried_one_by_one() -> None:
    rules = [Rule(n, f"*.{n % 100}.x{n}.#") for n in range(5000)]
    rules += [Rule(5000 + n, f"#.y{n}.*") for n in range(5000)]
    matcher = compile_rules(TOPIC, rules)
    key = "eu.7.x1007.a.b.y3.z"

    assert matcher.match(key, {}) == (1007, 5003)
    assert work(lambda: matcher.match(key, {})) < 1000


def test_wildcards_in_any_order_share_their_places() -> None:
    mixes = [[("*", "#")[number >> bit & 1] for bit in range(12)] for number in range(4096)]
    matcher = compile_rules(TOPIC, [Rule(n, ".".join([*mix, "end"])) for n, mix in enumerate(mixes)])
    key = ".".join(["a"] * 31)

    assert work(lambda: matcher.match(key, {})) < 31 * 24 * 20
