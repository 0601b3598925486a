"""What a stage's learning rate will do is said before the stage is run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from optim.config.loading import load
from optim.study import rates
from optim.study.rates import rate_warnings
from optim.study.study import build_study

Warnings = Callable[..., tuple[str, ...]]

STUDY = """\
ingredients: {butter: {max: 4}, eggs: {max: 6}, flour: {max: 4}, sugar: {max: 4}}
model: {properties: {kind: bakery}}
stages:
  bake: {kind: bake, length: 300, starts: 2, score: {kind: deliciousness}, optimizer: {name: adam, learning_rate: 0.1}}
"""


@pytest.fixture
def warnings_of(tmp_path: Path) -> Warnings:
    """Warnings of a bake of so many steps with a learning rate."""
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)

    def warnings(rate: str, length: int = 300, *more: str) -> tuple[str, ...]:
        overrides = (f"stages.bake.length={length}", f"stages.bake.optimizer.learning_rate={rate}")
        config = load(path, [*overrides, *more])
        return rate_warnings(config, build_study(config).stages[0])

    return warnings


def rate(schedule: str, **numbers: object) -> str:
    """A schedule as a config has it."""
    return "{" + ", ".join([f"schedule: {schedule}", *(f"{key}: {value}" for key, value in numbers.items())]) + "}"


def cosine(decay_steps: object) -> str:
    return rate("cosine_decay_schedule", init_value=0.03, decay_steps=decay_steps)


def warmup(warmup_steps: object, decay_steps: object, peak_value: float = 0.03) -> str:
    numbers = {"init_value": 0.0, "peak_value": peak_value, "warmup_steps": warmup_steps, "decay_steps": decay_steps}
    return rate("warmup_cosine_decay_schedule", **numbers)


# Nothing is trained

NEVER = "stages.bake.optimizer.learning_rate is 0 throughout: nothing will be trained; give a positive rate"


@pytest.mark.parametrize(
    "never",
    ["0", rate("constant_schedule", value=0), rate("linear_schedule", init_value=0, end_value=0, transition_steps=5)],
)
def test_a_rate_of_0_throughout_is_told(warnings_of: Warnings, never: str) -> None:
    assert warnings_of(never) == (NEVER,)


def test_a_constant_rate_needs_no_jax(warnings_of: Warnings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "_rates", None)
    for constant in ("0.1", rate("constant_schedule", value=0.1)):
        assert warnings_of(constant) == ()


def test_an_optimizer_without_a_rate_is_left_alone(warnings_of: Warnings) -> None:
    assert warnings_of("0.1", 300, "stages.bake.optimizer={name: rprop, learning_rate: 0.1}") == ()


def test_the_durations_are_those_of_the_stage(small_file: Path) -> None:
    """Epochs of a fit in batches: 40 customers by 16 are 3 steps an epoch, so 24 of 40."""
    schedule = rate("linear_schedule", init_value=0.1, end_value=0.0, transition_steps="8 epochs")
    config = load(small_file, [f"stages.fit.optimizer.learning_rate={schedule}"])
    fit, bake = build_study(config).stages
    assert rate_warnings(config, fit) == (
        "stages.fit.optimizer: the learning rate is 0 from step 25 of 40 on: those 16 steps change nothing; let the "
        "schedule last as long as the stage (transition_steps: 100%), or end the stage there (length: 24)",
    )
    assert rate_warnings(config, bake) == ()


# Steps at rate 0 at the end


def test_steps_after_the_end_of_a_schedule_are_told(warnings_of: Warnings) -> None:
    assert warnings_of(cosine(300), 600) == (
        "stages.bake.optimizer: the learning rate is 0 from step 301 of 600 on: those 300 steps change nothing; let "
        "the schedule last as long as the stage (decay_steps: 100%), or end the stage there (length: 300)",
    )


def test_a_single_step_at_rate_0_is_as_usual(warnings_of: Warnings) -> None:
    """A line that is at 0 for the last step."""
    line = lambda transition: rate("linear_schedule", init_value=1, end_value=0, transition_steps=transition)
    assert warnings_of(line(299)) == ()
    assert "from step 299 of 300 on: those 2 steps" in warnings_of(line(298))[0]


def test_a_schedule_that_lasts_as_long_as_its_stage_is_fine_however_long(warnings_of: Warnings) -> None:
    """In single precision the last 7 rates of the longest are 0 by rounding."""
    for length in (1, 2, 300, 100_000):
        assert warnings_of(cosine("100%"), length) == ()
    assert warnings_of(cosine(600)) == ()


def test_the_first_step_at_rate_0_is_found_in_a_stage_that_is_not_looked_at_step_by_step(
    warnings_of: Warnings,
) -> None:
    found = warnings_of(cosine(123_457), 1_000_000)[0]
    assert "from step 123458 of 1000000 on: those 876543 steps change nothing" in found
    assert "(length: 123457)" in found


def test_pieces_have_no_one_duration_to_stretch(warnings_of: Warnings) -> None:
    pieces = rate("piecewise_constant_schedule", init_value=0.1, boundaries_and_scales="{100: 0.1, 200: 0}")
    (found,) = warnings_of(pieces)
    assert "from step 201 of 300 on: those 100 steps" in found
    assert "as long as the stage (percentages for its durations)" in found


# Warm-ups


def test_a_warmup_longer_than_its_stage_is_told_with_the_rate_at_which_it_ends(warnings_of: Warnings) -> None:
    """At step 100 the rate is 99/5000 of the peak."""
    assert warnings_of(warmup(5000, 10000), 100) == (
        "stages.bake.optimizer.learning_rate: the warm-up takes 5000 steps, and the stage ends after 100 of them, at a "
        "rate of 0.000594 instead of 0.03; shorten warmup_steps, or train longer",
    )


def test_a_warmup_that_reaches_its_peak_at_the_last_step_is_fine(warnings_of: Warnings) -> None:
    assert warnings_of(warmup(99, 200), 100) == ()
    assert len(warnings_of(warmup(100, 200), 100)) == 1
    assert warnings_of(warmup("10%", "100%"), 100) == ()


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        (
            rate("warmup_constant_schedule", init_value=0.0, peak_value=0.1, warmup_steps=400),
            "the warm-up takes 400 steps, and the stage ends after 300 of them, at a rate of 0.07475 instead of 0.1",
        ),
        (
            rate(
                "warmup_exponential_decay_schedule",
                init_value=0.0,
                peak_value=0.1,
                warmup_steps=400,
                transition_steps=10,
                decay_rate=0.5,
            ),
            "the warm-up takes 400 steps, and the stage ends after 300 of them, at a rate of 0.07475 instead of 0.1",
        ),
        (
            # From 0.004 to 0.1 in a line of 600 steps: 0.004 + 0.096 · 299/600.
            rate("linear_onecycle_schedule", transition_steps=2000, peak_value=0.1),
            "the warm-up takes 600 steps, and the stage ends after 300 of them, at a rate of 0.05184 instead of 0.1; "
            "shorten transition_steps or lower pct_start, or train longer",
        ),
        (
            # Along a cosine: 0.004 + 0.096 · (1 − cos(π 299/600)) / 2.
            rate("cosine_onecycle_schedule", transition_steps=2000, peak_value=0.1),
            f"the warm-up takes 600 steps, and the stage ends after 300 of them, at a rate of "
            f"{0.004 + 0.048 * (1 - np.cos(np.pi * 299 / 600)):.4g} instead of 0.1",
        ),
    ],
)
def test_every_schedule_with_a_warmup_is_known(warnings_of: Warnings, schedule: str, told: str) -> None:
    (found,) = warnings_of(schedule)
    assert told in found


def test_a_schedule_that_begins_at_its_peak_has_no_warmup(warnings_of: Warnings) -> None:
    flat = rate("warmup_constant_schedule", init_value=0.1, peak_value=0.1, warmup_steps=400)
    assert warnings_of(flat) == (constant(0.1),)


def test_a_warmup_within_joined_schedules_is_told_by_its_place(warnings_of: Warnings) -> None:
    joined = rate("join_schedules", schedules=f"[{cosine(200)}, {warmup(400, 800, 0.1)}]", boundaries="[200]")
    assert warnings_of(joined) == (
        "stages.bake.optimizer.learning_rate.schedules.1: the warm-up takes 400 steps, and the stage ends after 100 of "
        "them, at a rate of 0.02475 instead of 0.1; shorten warmup_steps, or train longer",
    )
    assert warnings_of(joined, 200) == (idle("schedules.1", 200),)  # the second never begins


def test_a_schedule_may_take_over_where_a_warmup_ends_but_not_before(warnings_of: Warnings) -> None:
    rising = rate("warmup_constant_schedule", init_value=0.0, peak_value=0.1, warmup_steps=100)
    joined = lambda boundary: rate("join_schedules", schedules=f"[{rising}, {cosine(500)}]", boundaries=f"[{boundary}]")
    assert warnings_of(joined(100)) == ()
    assert warnings_of(joined(50)) == (
        "stages.bake.optimizer.learning_rate.schedules.0: the warm-up takes 100 steps, and the next schedule begins "
        "after 50 of them, at a rate of 0.049 instead of 0.1; shorten warmup_steps, or move the boundary",
    )


def test_a_cycle_that_the_stage_cuts_in_its_warmup_is_told(warnings_of: Warnings) -> None:
    cycle = "{init_value: 0.0, peak_value: 0.1, warmup_steps: 50, decay_steps: 120}"
    cycles = rate("sgdr_schedule", cosine_kwargs=f"[{cycle}, {cycle}, {cycle}]")
    (found,) = warnings_of(cycles, 270)
    assert found.startswith(
        "stages.bake.optimizer.learning_rate.cosine_kwargs.2: the warm-up takes 50 steps, and the stage ends after 30 "
    )
    assert warnings_of(cycles, 300) == ()


# Parts without effect


def idle(part: str, length: int = 300) -> str:
    place = f"stages.bake.optimizer.learning_rate.{part}"
    return f"{place} has no effect: no learning rate of the {length} steps depends on it; remove it, or mend its place"


DECAY = {"init_value": 0.1, "transition_steps": 100, "decay_rate": 0.5}


@pytest.mark.parametrize(
    ("schedule", "part"),
    [
        (rate("exponential_decay", **DECAY, end_value=0.01), "end_value"),  # reached is 0.1 / 8
        (rate("exponential_decay", init_value=0.1, transition_steps=1, decay_rate=0.99, staircase="true"), "staircase"),
        (rate("piecewise_constant_schedule", init_value=0.1, boundaries_and_scales="{100: 0.5, 300: 0.5}"),
         "boundaries_and_scales.300"),
        (rate("join_schedules", schedules=f"[{rate('constant_schedule', value=0.1)}, {cosine(500)}]",
              boundaries="[300]"), "schedules.1"),
    ],
)  # fmt: skip
def test_a_part_of_a_schedule_that_changes_no_rate_is_told(warnings_of: Warnings, schedule: str, part: str) -> None:
    assert warnings_of(schedule) == (idle(part),)


def test_cycles_that_never_begin_are_told(warnings_of: Warnings) -> None:
    cycle = "{init_value: 0.0, peak_value: 0.1, warmup_steps: 50, decay_steps: 120, end_value: 0.01}"
    cycles = rate("sgdr_schedule", cosine_kwargs=f"[{cycle}, {cycle}]")
    assert warnings_of(cycles, 120) == (idle("cosine_kwargs.1", 120), idle("cosine_kwargs.1.end_value", 120))
    assert warnings_of(cycles, 240) == ()


def test_parts_that_change_a_rate_are_not_told(warnings_of: Warnings) -> None:
    decay = rate("exponential_decay", **DECAY, end_value=0.03, staircase="true", transition_begin=10)
    assert warnings_of(decay) == ()
    assert warnings_of(rate("exponential_decay", **DECAY, end_value=0.01), 400) == ()


def constant(value: float, length: int = 300) -> str:
    return (
        f"stages.bake.optimizer.learning_rate is {value:g} at every one of the {length} steps: the schedule has no "
        "effect; let it begin and change within the stage, or give that number"
    )


LATE = {"init_value": 0.1, "end_value": 0.01, "transition_steps": 100, "transition_begin": 300}


@pytest.mark.parametrize(
    "schedule",
    [
        rate("linear_schedule", **LATE),
        rate("exponential_decay", init_value=0.1, transition_steps=301, decay_rate=0.5, staircase="true"),
    ],
)
def test_a_schedule_that_is_constant_while_its_stage_lasts_is_told(warnings_of: Warnings, schedule: str) -> None:
    assert constant(0.1) in warnings_of(schedule)
    assert warnings_of(schedule, 400) == ()


def test_a_short_piece_of_a_long_stage_is_seen(warnings_of: Warnings) -> None:
    """Seventy of a million steps have ten times the rate."""
    pieces = rate("piecewise_constant_schedule", init_value=0.1, boundaries_and_scales="{100120: 10, 100190: 0.1}")
    assert warnings_of(pieces, 1_000_000) == ()


def test_a_schedule_that_grows_without_bound_is_told(warnings_of: Warnings) -> None:
    (found,) = warnings_of(rate("exponential_decay", init_value=1, transition_steps=1, decay_rate=1e30))
    assert "learning_rate is not finite at some of the 300 steps" in found


def test_a_cycle_without_a_step_for_its_peak_is_told(warnings_of: Warnings) -> None:
    """Between shares of 0.3 and 0.4 of two steps there is none; of twenty there are two."""
    cycle = {"peak_value": 0.1, "pct_start": 0.3, "pct_final": 0.4}
    (found,) = warnings_of(rate("linear_onecycle_schedule", transition_steps=2, **cycle))
    assert "in a cycle of 2 steps pct_start and pct_final are the same step, so that its peak is left out" in found
    assert warnings_of(rate("linear_onecycle_schedule", transition_steps=20, **cycle)) == ()


def test_the_precision_of_the_run_is_left_as_it_is(warnings_of: Warnings) -> None:
    warnings_of(cosine(300))
    assert not jax.config.jax_enable_x64
