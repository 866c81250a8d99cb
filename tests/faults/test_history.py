"""The judge finds what is wrong with a history, and nothing in one that is right."""

import pytest

from tests.faults.history import Published, Said, Verdict, judge

IN, OUT, WHO_KNOWS = Said.ACKNOWLEDGED, Said.FAILED, Said.UNKNOWN


def told(*said: Said, key: str = "") -> list[Published]:
    return [Published(number, one, key) for number, one in enumerate(said)]


def test_a_history_in_which_all_is_well() -> None:
    assert judge(told(IN, IN, IN), [0, 1, 2]) == Verdict(3, 3, 0, 0, 0, 0)


def test_nothing_published_is_nothing_wrong() -> None:
    assert judge([], []) == Verdict(0, 0, 0, 0, 0, 0)


def test_what_was_acknowledged_and_has_no_effect_is_lost() -> None:
    assert judge(told(IN, IN, IN), [0, 2]) == Verdict(3, 2, 1, 0, 0, 0)


def test_what_was_spent_at_most_once_is_not_lost_and_not_delivered() -> None:
    assert judge(told(IN, IN, IN), [0], spent=[2]) == Verdict(3, 1, 1, 0, 0, 0)


def test_an_effect_too_many_is_a_duplicate_each_time() -> None:
    assert judge(told(IN, IN), [0, 1, 0, 0]) == Verdict(2, 2, 0, 2, 0, 0)


def test_what_nobody_published_is_unexpected() -> None:
    assert judge(told(IN), [0, 7]) == Verdict(1, 1, 0, 0, 1, 0)


def test_what_was_rolled_back_is_unexpected() -> None:
    assert judge(told(IN, OUT), [0, 1]) == Verdict(1, 2, 0, 0, 1, 0)


@pytest.mark.parametrize("effects", [[0], [0, 1]])
def test_what_its_publisher_cannot_know_may_be_there_or_not(effects: list[int]) -> None:
    assert judge(told(IN, WHO_KNOWS), effects) == Verdict(1, len(effects), 0, 0, 0, 0)


def test_what_its_publisher_cannot_know_comes_once_all_the_same() -> None:
    assert judge(told(WHO_KNOWS), [0, 0]).duplicated == 1


def test_each_message_behind_a_later_one_of_its_key_is_out_of_order() -> None:
    assert judge(told(IN, IN, IN, IN), [1, 3, 0, 2]).reordered == 2


def test_a_duplicate_is_not_out_of_order() -> None:
    assert judge(told(IN, IN), [0, 1, 0]) == Verdict(2, 2, 0, 1, 0, 0)


def test_keys_do_not_wait_for_one_another() -> None:
    two_keys = [Published(0, IN, "a"), Published(1, IN, "b"), Published(2, IN, "a")]
    assert judge(two_keys, [1, 0, 2]).reordered == 0
    assert judge(two_keys, [2, 1, 0]).reordered == 1
