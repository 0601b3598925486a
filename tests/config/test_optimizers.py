"""The blocks of optimizers and schedules say what the functions behind them say, which are optax's for the most."""

from __future__ import annotations

import inspect
from typing import Any, get_args

import optax
import pytest
from pydantic import TypeAdapter
from pydantic_core import PydanticUndefined

from optim.config.anatomy import tag_of
from optim.config.block import Block
from optim.config.durations import steps
from optim.config.optimizers import Optimizer, OptimizerBase, depends_on_length
from optim.config.schedules import Schedule
from optim.optimize.chains import OWN

DEPRECATED = {("noisy_sgd", "seed")}
NOT_IN_YAML = {"accumulator_dtype", "mu_dtype", "mask", "weight_decay_mask", "linesearch"}
REQUIRED_HERE = {("noisy_sgd", "key"), ("adadelta", "learning_rate")}
"""Optax has None for these, and then asks for a value or does nothing useful."""

MORE: dict[str, dict[str, Any]] = {"noisy_sgd": {"key": 1}}
"""What a block needs beside a learning rate."""

OPTIMIZERS = get_args(get_args(Optimizer)[0])
SCHEDULES = get_args(get_args(Schedule)[0])


def name_of(block: type[Block]) -> str:
    tag = tag_of(block)
    assert tag is not None
    return tag[1]


def _left_out(name: str, key: str) -> bool:
    return key in NOT_IN_YAML or (name, key) in DEPRECATED


def function_of(name: str) -> Any:
    return OWN.get(name) or getattr(optax, name)


def defaults(name: str) -> dict[str, Any]:
    parameters = inspect.signature(function_of(name)).parameters
    return {key: given.default for key, given in parameters.items() if not _left_out(name, key)}


@pytest.mark.parametrize("block", [*OPTIMIZERS, *SCHEDULES], ids=name_of)
def test_names_and_defaults_are_those_of_the_function(block: type[Block]) -> None:
    name, shared = name_of(block), {*OptimizerBase.model_fields, "name", "schedule"}
    ours = {key: info.default for key, info in block.model_fields.items() if key not in shared}
    theirs = defaults(name)
    required = {key for key in theirs if theirs[key] is inspect.Parameter.empty or (name, key) in REQUIRED_HERE}
    assert set(ours) == set(theirs)
    assert {key for key in ours if ours[key] is PydanticUndefined} == required
    assert {key: ours[key] for key in ours if key not in required} == {
        key: theirs[key] for key in theirs if key not in required
    }


def test_every_schedule_of_optax_is_there() -> None:
    listed = {name for name in dir(optax.schedules) if name.endswith(("_schedule", "_decay", "_schedules"))}
    assert listed - {"_schedule"} == {name_of(block) for block in SCHEDULES}


@pytest.mark.parametrize("block", OPTIMIZERS, ids=name_of)
def test_parameters_build_the_optimizer(block: type[Block]) -> None:
    name = name_of(block)
    rate = {"learning_rate": 0.1} if "learning_rate" in block.model_fields else {}
    optimizer = TypeAdapter(Optimizer).validate_python({"name": name} | rate | MORE.get(name, {}))
    function_of(name)(**optimizer.parameters())


def test_no_optimizer_of_optax_is_shadowed() -> None:
    assert not [name for name in OWN if hasattr(optax, name)]


EXAMPLES: list[dict[str, Any]] = [
    {"schedule": "constant_schedule", "value": 0.1},
    {"schedule": "linear_schedule", "init_value": 1, "end_value": 0, "transition_steps": "50%"},
    {"schedule": "polynomial_schedule", "init_value": 1, "end_value": 0, "power": 2, "transition_steps": 10},
    {"schedule": "exponential_decay", "init_value": 1, "transition_steps": "2 epochs", "decay_rate": 0.9},
    {"schedule": "cosine_decay_schedule", "init_value": 1, "decay_steps": "100%"},
    {"schedule": "cosine_onecycle_schedule", "transition_steps": "100%", "peak_value": 1},
    {"schedule": "linear_onecycle_schedule", "transition_steps": "100%", "peak_value": 1},
    {"schedule": "piecewise_constant_schedule", "init_value": 1, "boundaries_and_scales": {"50%": 0.1, 80: 0.1}},
    {
        "schedule": "piecewise_interpolate_schedule",
        "interpolate_type": "linear",
        "init_value": 1,
        "boundaries_and_scales": {"50%": 0.1},
    },
    {"schedule": "warmup_constant_schedule", "init_value": 0, "peak_value": 1, "warmup_steps": "10%"},
    {
        "schedule": "warmup_cosine_decay_schedule",
        "init_value": 0,
        "peak_value": 1,
        "warmup_steps": "10%",
        "decay_steps": "100%",
    },
    {
        "schedule": "warmup_exponential_decay_schedule",
        "init_value": 0,
        "peak_value": 1,
        "warmup_steps": 0,
        "transition_steps": 10,
        "decay_rate": 0.5,
    },
    {
        "schedule": "sgdr_schedule",
        "cosine_kwargs": [{"init_value": 0, "peak_value": 1, "warmup_steps": 5, "decay_steps": "50%"}],
    },
]


def resolve(duration: int | str) -> int:
    return steps(duration, steps_per_epoch=10, total=100)


def read(given: dict[str, Any]) -> Any:
    return TypeAdapter(Optimizer).validate_python({"name": "sgd", "learning_rate": given}).learning_rate


@pytest.mark.parametrize("given", EXAMPLES, ids=lambda given: given["schedule"])
def test_parameters_build_the_schedule(given: dict[str, Any]) -> None:
    schedule = getattr(optax, given["schedule"])(**read(given).parameters(resolve))
    assert float(schedule(3)) >= 0.0


def test_durations_in_a_schedule_are_resolved() -> None:
    assert read(EXAMPLES[7]).parameters(resolve) == {
        "init_value": 1.0,
        "boundaries_and_scales": {50: 0.1, 80: 0.1},
    }
    assert read(EXAMPLES[3]).parameters(resolve)["transition_steps"] == 20
    assert read(EXAMPLES[1]).parameters(resolve) == {
        "init_value": 1.0,
        "end_value": 0.0,
        "transition_steps": 50,
        "transition_begin": 0,
    }


def test_factors_of_boundaries_that_fall_together_are_multiplied() -> None:
    given = {"schedule": "piecewise_constant_schedule", "init_value": 1, "boundaries_and_scales": {"50%": 0.5, 50: 0.5}}
    assert read(given).parameters(resolve)["boundaries_and_scales"] == {50: 0.25}


def test_joined_schedules_stay_blocks() -> None:
    given = {"schedule": "join_schedules", "schedules": [EXAMPLES[0], EXAMPLES[4]], "boundaries": ["30%"]}
    parameters = read(given).parameters(resolve)
    assert parameters["boundaries"] == [30]
    assert [schedule.schedule for schedule in parameters["schedules"]] == ["constant_schedule", "cosine_decay_schedule"]


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (0.1, False),
        (EXAMPLES[2], False),
        (EXAMPLES[3], False),
        (EXAMPLES[1], True),
        (EXAMPLES[7], True),
        (EXAMPLES[12], True),
        ({"schedule": "join_schedules", "schedules": [EXAMPLES[0], EXAMPLES[4]], "boundaries": [3]}, True),
    ],
)
def test_only_a_percentage_makes_a_schedule_depend_on_the_length(rate: object, expected: bool) -> None:
    optimizer = TypeAdapter(Optimizer).validate_python({"name": "adam", "learning_rate": rate})
    assert depends_on_length(optimizer) is expected


def test_an_optimizer_without_schedule_does_not_depend_on_the_length() -> None:
    assert not depends_on_length(TypeAdapter(Optimizer).validate_python({"name": "lbfgs"}))
