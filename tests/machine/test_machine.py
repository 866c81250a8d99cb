"""Whatever is done in whatever order, the database says what the model says.

A long run by hand: ``HYPOTHESIS_PROFILE=thorough pytest tests/machine``.
"""

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from tests.machine.delivering import Delivering
from tests.machine.keeping import Keeping
from tests.machine.publishing import Publishing

PROFILES = {"bounded": (40, 40), "thorough": (2000, 100), "mid": (400, 60)}
"""Examples, and steps in each."""

EXAMPLES, STEPS = PROFILES[os.environ.get("HYPOTHESIS_PROFILE", "bounded")]


class Machine(Publishing, Delivering, Keeping):
    """All rules together."""

    @rule(back=st.integers(0, 3))
    def let_a_day_go_by(self, back: int) -> None:
        """With workers that keep up: most of what there is gets old enough to go, and nothing is left to hold it."""
        self.append()
        self.age(back, 25)
        self.sweep()
        self.serve_all()
        self.prune()


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(0 if EXAMPLES > 100 else 120)
def test_the_database_says_what_the_model_says() -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=False,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
