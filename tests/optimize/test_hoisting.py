"""Numbers of a schedule are no part of its program."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from pydantic import TypeAdapter

from optim.config.schedules import Schedule
from optim.optimize.chains import build_chain, build_schedule
from optim.optimize.hoisting import hoisted
from tests.optimize.test_chains import SCHEDULES, block_of, resolve

STEPS = jnp.array([0, 1, 7, 19, 20, 21, 50, 75, 99, 100, 150])


def other_numbers(given: Any) -> Any:
    """The same schedule with every number another: also its lengths and its boundaries."""
    if isinstance(given, dict):
        return {_moved(key): other_numbers(value) for key, value in given.items()}
    return [other_numbers(one) for one in given] if isinstance(given, list) else _moved(given)


def _moved(value: Any) -> Any:
    if isinstance(value, float):
        return 0.75 * value + 0.0625
    return {"20%": "30%", "50%": "60%", "100%": "90%", "80%": "70%", "10%": "15%"}.get(value, value)


@pytest.mark.parametrize("given", [given for given, _ in SCHEDULES], ids=[given["schedule"] for given, _ in SCHEDULES])
def test_schedules_that_differ_in_numbers_are_one_program(given: dict[str, Any]) -> None:
    one, other = (
        build_schedule(TypeAdapter(Schedule).validate_python(each), resolve) for each in (given, other_numbers(given))
    )
    (program, numbers), (same, its_numbers) = hoisted(one, np.int32), hoisted(other, np.int32)
    assert program == same
    at = lambda numbers: jax.jit(jax.vmap(program, in_axes=(None, 0)))(numbers, STEPS)
    np.testing.assert_allclose(at(numbers), jax.jit(jax.vmap(one))(STEPS), rtol=2e-6)
    np.testing.assert_allclose(at(its_numbers), jax.jit(jax.vmap(other))(STEPS), rtol=2e-6)
    assert not np.allclose(at(numbers), at(its_numbers))


def test_what_numbers_decide_in_python_is_another_program() -> None:
    stairs = [hoisted(optax.exponential_decay(1.0, 10, 0.5, staircase=on), np.int32)[0] for on in (False, True)]
    assert stairs[0] != stairs[1]
    ends = [hoisted(optax.exponential_decay(1.0, 10, 0.5, end_value=end), np.int32)[0] for end in (None, 0.1)]
    assert ends[0] != ends[1]


def test_an_array_in_a_function_belongs_to_its_program() -> None:
    looked_up = lambda table: lambda step: table[step]
    one, other = (hoisted(looked_up(jnp.array(row)), np.int32)[0] for row in ([1.0, 2.0], [1.0, 3.0]))
    assert one != other


def test_chains_that_differ_in_numbers_are_equal_and_take_each_others() -> None:
    one = build_chain(block_of("adam", learning_rate=0.1, b1=0.5, clip_global_norm=1.0), resolve, "noise")
    other = build_chain(block_of("adam", learning_rate=0.2, b1=0.8, eps=0.1, clip_global_norm=2.0), resolve, "noise")
    assert one == other
    updates = []
    for optimizer in (one(other.numbers), other()):
        state, x = optimizer.init(jnp.ones(3)), jnp.ones(3)
        for gradient in (jnp.array([3.0, -1.0, 0.2]), jnp.array([0.1, 1.0, 0.0])):
            change, state = optimizer.update(gradient, state, x)
        updates.append(change)
    np.testing.assert_array_equal(*updates)


@pytest.mark.parametrize(
    "changes",
    [{"nesterov": True}, {"clip_global_norm": 1.0}, {"learning_rate": {"schedule": "constant_schedule", "value": 0.1}}],
    ids=["nesterov", "clip", "schedule"],
)
def test_what_changes_the_program_makes_chains_unequal(changes: dict[str, Any]) -> None:
    chains = [build_chain(block_of("adam", **each), resolve, "noise") for each in ({}, changes)]
    structures = [(chain, jax.tree.structure(chain.numbers)) for chain in chains]
    assert structures[0] != structures[1]
