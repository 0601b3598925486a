"""Numbers of optimizers and schedules that would train away from the optimum, or make no sense, are refused."""

from __future__ import annotations

import pytest

from tests.config.conftest import Loaded, Refused

OPTIMIZER = "stages.bake.optimizer"
RATE = f"{OPTIMIZER}.learning_rate"
LINE = "schedule: linear_schedule, init_value: 0.1, transition_steps: 9"
CYCLE = "init_value: 0, peak_value: 0.1, warmup_steps: 2, decay_steps: 9"
ONE = "transition_steps: 9, peak_value: 1"


@pytest.mark.parametrize(
    ("rate", "key", "said"),
    [
        ("-0.03", "", "of at least 0"),
        ("{schedule: constant_schedule, value: -0.03}", ".value", "of at least 0"),
        (f"{{{LINE}, end_value: -0.05}}", ".end_value", "of at least 0"),
        ("{schedule: cosine_decay_schedule, init_value: -1, decay_steps: 9}", ".init_value", "of at least 0"),
        ("{schedule: cosine_decay_schedule, init_value: 1, decay_steps: 9, alpha: -1}", ".alpha", "of at least 0"),
        ("{schedule: cosine_decay_schedule, init_value: 1, decay_steps: 9, exponent: 0}", ".exponent", "above 0"),
        ("{schedule: polynomial_schedule, init_value: 1, end_value: 0, transition_steps: 9, power: -1}",
         ".power", "above 0"),
        ("{schedule: exponential_decay, init_value: -1, transition_steps: 9, decay_rate: 0.5}", ".init_value",
         "of at least 0"),
        ("{schedule: exponential_decay, init_value: 1, transition_steps: 9, decay_rate: 0.5, end_value: -1}",
         ".end_value", "of at least 0"),
        (f"{{schedule: warmup_cosine_decay_schedule, {CYCLE}, end_value: -1}}", ".end_value", "of at least 0"),
        (f"{{schedule: sgdr_schedule, cosine_kwargs: [{{{CYCLE}, exponent: -1}}]}}", ".cosine_kwargs.0.exponent",
         "above 0"),
        ("{schedule: join_schedules, boundaries: [5], schedules: [{schedule: constant_schedule, value: 1}, "
         "{schedule: constant_schedule, value: -1}]}", ".schedules.1.value", "of at least 0"),
        ("{schedule: warmup_constant_schedule, init_value: 0, peak_value: -1, warmup_steps: 9}", ".peak_value",
         "of at least 0"),
        (f"{{schedule: cosine_onecycle_schedule, {ONE}, pct_start: 1}}", ".pct_start", "below 1"),
        (f"{{schedule: linear_onecycle_schedule, {ONE}, pct_final: 1}}", ".pct_final", "below 1"),
    ],
)  # fmt: skip
def test_no_rate_can_be_negative(rate: str, key: str, said: str, refused: Refused) -> None:
    (one,) = refused(f"{RATE}={rate}")
    assert f"{RATE}{key}: " in one
    assert said in one


def test_a_fit_refuses_them_as_well(refused: Refused) -> None:
    (one,) = refused("stages.fit.optimizer.learning_rate={schedule: constant_schedule, value: -0.03}")
    assert "stages.fit.optimizer.learning_rate.value: " in one


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ("name: rprop, eta_minus: 1.5", "eta_minus: expected a number above 0 and below 1"),
        ("name: rprop, eta_plus: 0.5", "eta_plus: expected a number above 1"),
        ("name: rprop, min_step_size: 2, max_step_size: 1", "min_step_size: 2 is not below max_step_size 1: lower it"),
        ("name: rprop, max_step_size: 0.01",
         "learning_rate: 0.1 is outside the step sizes, 1e-06 to 0.01: move it inside"),
        ("name: adadelta, eps: 0", "eps: expected a number above 0"),
        ("name: adam, eps: 0", "eps: 0 (as is `eps_root`): a gradient of 0 would be divided by 0; give a small"),
        ("name: adamax, eps: 0", "eps: 0: a gradient of 0 would be divided by 0; give a small positive number"),
        ("name: adabelief, b1: 0", "b1: is 0: the mean is the gradient itself, which never differs from it"),
        ("name: rmsprop, centered: true, decay: 0",
         "centered: has nothing to divide by, as `decay` is 0 and nothing varies: give `decay`"),
        ("name: radam, b2: 0.5", "threshold: 5 is never reached: with `b2` 0.5 the certainty grows to 3, so that"),
        ("name: adam, b1: 0, nesterov: true", "nesterov: has no effect, as `b1` is 0 and there is no momentum"),
        ("name: amsgrad, b1: 0, bias_correction_mu: false",
         "bias_correction_mu: has no effect, as `b1` is 0 and the mean has no bias: remove it"),
        ("name: lion, b1: 0, b2: 0.5", "b2: has no effect, as `b1` is 0"),
    ],
)  # fmt: skip
def test_numbers_of_an_optimizer_that_make_no_sense_are_refused(numbers: str, said: str, refused: Refused) -> None:
    (one,) = refused(f"{OPTIMIZER}={{learning_rate: 0.1, {numbers}}}")
    assert f"{OPTIMIZER}.{said}" in one


@pytest.mark.parametrize(
    "numbers",
    ["name: adam, eps: 0, eps_root: 1e-8", "name: adam, b1: 0", "name: nadam, b1: 0", "name: rprop, eta_plus: 1.01",
     "name: adagrad, eps: 0", "name: lion, b1: 0", "name: amsgrad, b1: 0, b2: 0"],
)  # fmt: skip
def test_unusual_numbers_that_make_sense_are_accepted(numbers: str, loaded: Loaded) -> None:
    loaded(f"{OPTIMIZER}={{learning_rate: 0.1, {numbers}}}")
