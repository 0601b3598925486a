"""Runs of more steps than can be counted are refused before they begin."""

from __future__ import annotations

import pytest

from optim.config.errors import UserError
from optim.study.lengths import MOST_STEPS
from optim.study.study import build_study
from tests.conftest import Studies


def refusal(small: Studies, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        build_study(small(*overrides))
    return str(caught.value)


def test_a_stage_of_too_many_steps_is_refused_by_name(small: Studies) -> None:
    assert refusal(small, "stages.fit.length=2147483648") == (
        "stages.fit.length: 2,147,483,648 steps are more than the 2,147,483,647 that a run has room for; "
        "make it shorter, or take larger batches"
    )


def test_epochs_are_counted_in_steps(small: Studies) -> None:
    """40 customers in batches of 16 are three steps."""
    assert "stages.fit.length: 800000000 epochs (2,400,000,000 steps) are more than" in refusal(
        small, "stages.fit.length=800000000 epochs"
    )


def test_the_stage_with_which_a_run_becomes_too_long_is_named(small: Studies) -> None:
    assert refusal(small, f"stages.fit.length={MOST_STEPS}") == (
        "stages.bake.length: with this stage the run comes to 2,147,483,677 steps, and has room for 2,147,483,647; "
        "make it shorter, or take larger batches"
    )
    build_study(small(f"stages.fit.length={MOST_STEPS - 30}"))


def test_a_schedule_of_too_many_steps_is_refused(small: Studies) -> None:
    rate = "{schedule: cosine_decay_schedule, init_value: 0.1, decay_steps: 3000000000}"
    assert "stages.fit.optimizer: 3,000,000,000 steps are more than" in refusal(
        small, f"stages.fit.optimizer.learning_rate={rate}"
    )
