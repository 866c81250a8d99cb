"""Pace: how many messages a claim takes, by how long they take."""

import pytest

from datapunk_broker.pump.pace import FIRST, LARGEST, Pace


@pytest.mark.parametrize(
    ("known", "messages", "seconds", "share"),
    [
        (Pace(), 4, 0.0, 16),  # too quick to measure: four times as many
        (Pace(), 4, 0.001, 16),
        (Pace(16, 0.0001), 16, 0.001, 64),
        (Pace(400, 0.0001), 400, 0.04, LARGEST),
        (Pace(LARGEST, 0.0001), LARGEST, 0.05, LARGEST),
        (Pace(), 4, 4.0, 1),  # a second each: one at a time, at once
        (Pace(), 4, 60.0, 1),  # never none
        (Pace(), 4, 0.4, 5),  # a tenth of a second each: half a second's worth
        (Pace(100, 0.005), 100, 2.0, 40),  # slower than it was: between the two
        (Pace(1, 1.0), 1, 0.0, 1),  # one quick message does not undo what is known
        (Pace(7, 0.1), 0, 9.0, 7),  # nothing was handled: nothing was learnt
    ],
)
def test_a_claim_is_worth_half_a_second_and_grows_by_steps(
    known: Pace, messages: int, seconds: float, share: int
) -> None:
    assert known.after(messages, seconds).share == share


def test_the_first_claim_is_small() -> None:
    assert (Pace().share, Pace().seconds) == (FIRST, None)


def test_a_steady_speed_is_learnt() -> None:
    pace = Pace()
    for _ in range(10):
        pace = pace.after(pace.share, pace.share * 0.01)
    assert pace.share == pytest.approx(50, abs=1)
