"""Every number of every optimizer changes its updates, and every number of every schedule its rates."""

from __future__ import annotations

from functools import cache
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import Array, Float, Shaped
from pydantic import TypeAdapter

from optim.config.anatomy import tag_of
from optim.config.block import Block
from optim.config.checks import STAGE_CHECKS
from optim.config.durations import steps
from optim.config.optimizers import LineSearch, Optimizer, OptimizerBase
from optim.config.schedules import Cycle, Schedule
from optim.config.schema import Bake, Config, Fit
from optim.optimize.chains import build_chain, build_schedule
from tests.settings.fingerprints import quickly
from tests.settings.walk import another, blocks, is_tag

OPTIMIZERS: tuple[type[OptimizerBase], ...] = get_args(get_args(Optimizer)[0])
SCHEDULES: tuple[type[Block], ...] = get_args(get_args(Schedule)[0])

NEEDED: dict[str, dict[str, Any]] = {
    "noisy_sgd": {"key": 1},
    "sgd": {"momentum": 0.5},  # without which `nesterov` is refused
    "rmsprop": {"momentum": 0.5, "eps": 0.01},
    "amsgrad": {"learning_rate": 3.0},  # so that slopes grow: of its second moments only the greatest so far counts
}
"""What an optimizer needs beside a learning rate for each of its numbers to count."""

ELSE: dict[str, Any] = {"threshold": 9.0}
"""Another value of a keyword, where the first one that is valid is refused for another reason."""

UPDATES = 12


def resolve(duration: int | str) -> int:
    return steps(duration, steps_per_epoch=5, total=20)


def problem(x: Float[Array, "3"]) -> Float[Array, ""]:
    """Curved unlike in each direction, with slopes small and large; steps of 0.4 pass its minimum."""
    return 0.5 * jnp.sum(jnp.array([0.01, 1.0, 3.0]) * (x - 1.0) ** 2) + 0.02 * jnp.sum(x**4)


@cache
def plain_path(kind: type[OptimizerBase]) -> bytes:
    """Where an optimizer goes in its plain form."""
    return path_of(optimizer_of(kind))


def path_of(block: OptimizerBase) -> bytes:
    """Where an optimizer goes."""
    optimizer = build_chain(block, resolve, "noise")()
    # A search inside an update would otherwise be compiled anew for each of them.
    points = _searched(optimizer) if isinstance(block, LineSearch) else _stepped(optimizer)
    assert np.isfinite(points).all()
    return points.tobytes()


def _stepped(optimizer: optax.GradientTransformationExtraArgs) -> Shaped[np.ndarray, "updates 3"]:
    x, found = jnp.array([2.0, -1.0, 0.5]), []
    state = optimizer.init(x)
    for _ in range(UPDATES):
        updates, state = optimizer.update(_SLOPE(x), state, x)
        x = optax.apply_updates(x, updates)
        found.append(np.asarray(x))
    return np.stack(found)


def _searched(optimizer: optax.GradientTransformationExtraArgs) -> Shaped[np.ndarray, "updates 3"]:
    def step(carry: Any, _: None) -> tuple[Any, Array]:
        x, state = carry
        value, slope = jax.value_and_grad(problem)(x)
        updates, state = optimizer.update(slope, state, x, value=value, grad=slope, value_fn=problem)
        return (x + updates, state), x + updates

    x = jnp.array([2.0, -1.0, 0.5])
    run = quickly(lambda x: jax.lax.scan(step, (x, optimizer.init(x)), length=UPDATES)[1])
    return np.asarray(run(x))


_SLOPE = jax.jit(jax.grad(problem))


def optimizer_of(kind: type[OptimizerBase], **fields: Any) -> OptimizerBase:
    name = kind.model_fields["name"].annotation
    rate = {"learning_rate": 0.4} if "learning_rate" in kind.model_fields else {}
    tag = get_args(name)[0]
    read: OptimizerBase = TypeAdapter(Optimizer).validate_python({"name": tag} | rate | NEEDED.get(tag, {}) | fields)
    return read


def optimizer_settings() -> list[tuple[type[OptimizerBase], str]]:
    """Every keyword; those that all optimizers share and that act before them have cases of their own."""
    shared = ("clip_customer_norm", "limits")
    return [
        (kind, name)
        for kind in OPTIMIZERS
        for name in kind.model_fields
        if name not in shared and not is_tag(kind, name)
    ]


# All numbers of one optimizer are one test: two workers would otherwise each compile its plain form.
@pytest.mark.parametrize("kind", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_every_number_of_an_optimizer_changes_its_updates(kind: type[OptimizerBase]) -> None:
    plain, idle = optimizer_of(kind), []
    for name in (name for listed, name in optimizer_settings() if listed is kind):
        changed = optimizer_of(kind, **{name: ELSE.get(name, another(kind, name, getattr(plain, name)))})
        if not is_refused(changed, name) and path_of(changed) == plain_path(kind):
            idle.append(f"{name} = {getattr(changed, name)!r}")
    assert not idle, (
        f"of {kind.__name__}, {', '.join(idle)} change no update: refuse each in optim/config/checks/effects.py where "
        "it has no effect, or give what it needs in NEEDED here"
    )


def is_refused(block: OptimizerBase, name: str) -> bool:
    """Whether the checks of a config refuse the setting, in a fit and in a bake."""
    fit = Fit.model_validate({"kind": "fit", "length": 9, "optimizer": block})
    bake = Bake.model_validate({"kind": "bake", "length": 9, "optimizer": block, "score": {"kind": "liking"}})
    stages = {"fit": fit, "bake": bake}
    config = Config.model_validate({"ingredients": {"gin": {"max": 1}}, "stages": stages})
    refused = [
        any(
            path == ("stages", key, "optimizer", name)
            for check in STAGE_CHECKS
            for path, _ in check(config, ("stages", key), stage)
        )
        for key, stage in stages.items()
    ]
    return all(refused)


def test_what_sees_signs_alone_or_searches_refuses_a_clipped_norm() -> None:
    blocks = [optimizer_of(kind, clip_global_norm=0.5) for kind in OPTIMIZERS]
    refusing = {block.name for block in blocks if is_refused(block, "clip_global_norm")}
    assert refusing == {"sign_sgd", "rprop", "lbfgs", "newton"}


def test_no_two_optimizers_are_the_same() -> None:
    assert len({plain_path(kind) for kind in OPTIMIZERS}) == len(OPTIMIZERS)


# Schedules

CONSTANT = {"schedule": "constant_schedule", "value": 0.5}
LINE = {"schedule": "linear_schedule", "init_value": 1.0, "end_value": 0.5, "transition_steps": 8}
CYCLE = {"init_value": 0.5, "peak_value": 1.0, "warmup_steps": 2, "decay_steps": 8}
PIECES = {"init_value": 1.0, "boundaries_and_scales": {8: 0.75}}
PLAIN: dict[str, dict[str, Any]] = {
    "constant_schedule": {"value": 1.0},
    "linear_schedule": {key: value for key, value in LINE.items() if key != "schedule"},
    "polynomial_schedule": {"init_value": 1.0, "end_value": 0.5, "power": 2.0, "transition_steps": 8},
    "exponential_decay": {"init_value": 1.0, "transition_steps": 4, "decay_rate": 0.5},
    "cosine_decay_schedule": {"init_value": 1.0, "decay_steps": 8},
    "cosine_onecycle_schedule": {"transition_steps": 8, "peak_value": 1.0},
    "linear_onecycle_schedule": {"transition_steps": 8, "peak_value": 1.0},
    "piecewise_constant_schedule": PIECES,
    "piecewise_interpolate_schedule": {"interpolate_type": "linear", **PIECES},
    "warmup_constant_schedule": {"init_value": 0.5, "peak_value": 1.0, "warmup_steps": 4},
    "warmup_cosine_decay_schedule": CYCLE,
    "warmup_exponential_decay_schedule": {
        "init_value": 0.5, "peak_value": 1.0, "warmup_steps": 2, "transition_steps": 4, "decay_rate": 0.5,
    },
    "sgdr_schedule": {"cosine_kwargs": [CYCLE]},
    "join_schedules": {"schedules": [CONSTANT, LINE], "boundaries": [4]},
}  # fmt: skip
"""One example of each schedule, in which every number counts."""

OTHER: dict[str, Any] = {
    "boundaries_and_scales": {8: 0.25},
    "interpolate_type": "cosine",
    "schedules": [CONSTANT, CONSTANT],
    "boundaries": [6],
    "cosine_kwargs": [CYCLE, CYCLE],
    "pct_start": 0.5,
    "end_value": 0.25,
    "warmup_steps": 3,
    "transition_begin": 3,
    "transition_steps": 12,
    "decay_steps": 12,
}
"""Another value of a field, where the first one that is valid will not do."""


def schedule_of(kind: type[Block], **fields: Any) -> Schedule:
    (name,) = get_args(kind.model_fields["schedule"].annotation)
    read: Schedule = TypeAdapter(Schedule).validate_python({"schedule": name} | PLAIN[name] | fields)
    return read


def rates_of(block: Schedule) -> bytes:
    return np.asarray(jax.vmap(build_schedule(block, resolve))(jnp.arange(20))).tobytes()


def schedule_settings() -> list[tuple[type[Block], str]]:
    return [(kind, name) for kind in SCHEDULES for name in kind.model_fields if not is_tag(kind, name)]


@pytest.mark.parametrize("kind", SCHEDULES, ids=lambda kind: kind.__name__)
def test_every_number_of_a_schedule_changes_its_rates(kind: type[Block]) -> None:
    plain, idle = schedule_of(kind), []
    for name in (name for listed, name in schedule_settings() if listed is kind):
        changed = schedule_of(
            kind, **{name: OTHER[name] if name in OTHER else another(kind, name, getattr(plain, name))}
        )
        assert getattr(changed, name) != getattr(plain, name)
        if rates_of(changed) == rates_of(plain):
            idle.append(f"{name} = {getattr(changed, name)!r}")
    assert not idle, (
        f"of {kind.__name__}, {', '.join(idle)} change no rate of the example: give one in PLAIN here in which each "
        "does, or take the field out"
    )


def test_every_number_of_a_cycle_changes_the_rates() -> None:
    (sgdr,) = (kind for kind in SCHEDULES if "cosine_kwargs" in kind.model_fields)
    plain, idle = rates_of(schedule_of(sgdr)), []
    for name in Cycle.model_fields:
        value = OTHER[name] if name in OTHER else another(Cycle, name, Cycle.model_validate(CYCLE).model_dump()[name])
        if rates_of(schedule_of(sgdr, cosine_kwargs=[CYCLE | {name: value}])) == plain:
            idle.append(name)
    assert not idle


def test_no_two_schedules_are_the_same() -> None:
    """The cosine of a single cycle is the one with a warm-up."""
    of_kind = {kind: rates_of(schedule_of(kind)) for kind in SCHEDULES}
    twins = {tag_of(kind) for kind, rates in of_kind.items() if list(of_kind.values()).count(rates) > 1}
    assert twins == {("schedule", "sgdr_schedule"), ("schedule", "warmup_cosine_decay_schedule")}


def covered() -> set[tuple[type[Block], str]]:
    """What this file looks at."""
    tags = {(kind, name) for kind in (*OPTIMIZERS, *SCHEDULES) for name in kind.model_fields if is_tag(kind, name)}
    cycle = {(Cycle, name) for name in Cycle.model_fields}
    return {*optimizer_settings(), *schedule_settings(), *cycle, *tags}


def test_nothing_of_them_is_left_out() -> None:
    shared = ("clip_customer_norm", "limits")
    listed = [kind for kind in blocks(Config) if issubclass(kind, OptimizerBase) or "schedule" in kind.model_fields]
    left = {(kind, name) for kind in listed for name in kind.model_fields if name not in shared} - covered()
    assert not left
