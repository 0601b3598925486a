"""A starter settles where yeast and acid balance, with the derivatives of that balance."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.typing import ArrayLike
from jaxtyping import Array

from optim.models.processes import Starter, StarterState, starter

settled = jax.jit(lambda p: jnp.stack(starter(*p)))


def balance(params: np.ndarray) -> np.ndarray:
    """By hand: with yeast = (1 − r) acid / s, acid solves (1−r) acid² + ((1−r)² − f s) acid = f s."""
    feeding, retention, souring = params
    kept = 1 - retention
    b, c = kept**2 - feeding * souring, -feeding * souring
    root = np.sqrt(b * b - 4 * kept * c)
    acid = 2 * -c / (b + root) if b > 0 else (root - b) / (2 * kept)
    return np.array([feeding / (1 - retention / (1 + acid)), acid])


def differences(function: Callable[[np.ndarray], ArrayLike], x: np.ndarray) -> np.ndarray:
    steps = np.eye(len(x)) * 1e-4
    return np.stack([(np.asarray(function(x + h)) - np.asarray(function(x - h))) / 2e-4 for h in steps], -1)


@settings(max_examples=25, deadline=None)
@given(feeding=st.floats(0.0, 1e4), retention=st.floats(0.0, 0.95), souring=st.floats(0.0, 10.0))
def test_it_settles_at_the_root_of_the_quadratic(feeding: float, retention: float, souring: float) -> None:
    with jax.enable_x64(True):
        params = np.array([feeding, retention, souring])
        np.testing.assert_allclose(settled(params), balance(params), rtol=1e-9, atol=1e-10)


@pytest.mark.usefixtures("float64")
def test_the_derivatives_are_those_of_finite_differences() -> None:
    params = np.array([3.0, 0.5, 0.2])
    jacobian = jax.jit(jax.jacrev(settled))
    np.testing.assert_allclose(jacobian(params), differences(balance, params), rtol=1e-6)
    hessian = jax.jit(jax.hessian(settled))(params)
    np.testing.assert_allclose(hessian, differences(jacobian, params), rtol=1e-6, atol=1e-9)


def test_in_single_precision_it_is_the_same() -> None:
    found = settled(jnp.array([3.0, 0.5, 0.2]))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, balance(np.array([3.0, 0.5, 0.2])), rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_near_a_retention_of_1_it_is_right_or_not_a_number(dtype: type) -> None:
    """Without souring, yeast = feeding / (1 − retention), as with the dough."""
    with jax.enable_x64(True):
        for retention in (0.99, 0.999, 0.99999):
            params = jnp.array([10.0, retention, 0.0], dtype)
            kept = 1 - float(params[1])
            if dtype == jnp.float32 and retention == 0.99999:
                assert bool(jnp.all(jnp.isnan(settled(params))))
            else:
                rtol = float(jnp.finfo(dtype).eps) / kept
                np.testing.assert_allclose(settled(params), (10.0 / kept, 0.0), rtol=rtol)


def test_without_feeding_nothing_is_left() -> None:
    np.testing.assert_array_equal(settled(jnp.array([0.0, 0.5, 0.2])), [0.0, 0.0])
    gradient = jax.grad(lambda f: starter(f, 0.5, 0.2).yeast)(0.0)
    np.testing.assert_allclose(gradient, 2.0, rtol=1e-6)  # 1 / (1 − r), as there is no acid


@pytest.mark.parametrize("retention", [1.0, 1.5, -1.0, np.nan])
def test_a_starter_that_never_settles_is_not_a_number(retention: float) -> None:
    assert bool(jnp.all(jnp.isnan(settled(jnp.array([3.0, retention, 0.2])))))


@pytest.mark.long
@pytest.mark.usefixtures("float64")
def test_the_module_can_be_fitted() -> None:
    graph, constants = nnx.split(Starter())
    loss = lambda constants: nnx.merge(graph, constants)(3.0).acid
    gradient = jax.grad(loss)(constants)
    expected = differences(balance, np.array([3.0, 0.5, 0.2]))[1]
    np.testing.assert_allclose([gradient[name][...] for name in ("retention", "souring")], expected[1:], rtol=1e-6)
    assert isinstance(Starter()(3), StarterState)


def test_constants_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the retention is 1\.0: it must be from 0 to less than 1"):
        Starter(retention=1.0)
    with pytest.raises(ValueError, match=r"the souring is -0\.1: it must be at least 0"):
        Starter(souring=-0.1)


def test_many_starters_are_compiled_once() -> None:
    traces = []

    @jax.jit
    def states(feedings: Array) -> StarterState:
        traces.append(feedings)
        return jax.vmap(Starter())(feedings)

    for factor in (1.0, 2.0):
        feedings = factor * np.array([0.5, 1.0, 3.0])
        expected = [balance(np.array([f, 0.5, 0.2])) for f in feedings]
        np.testing.assert_allclose(np.stack(states(jnp.asarray(feedings)), -1), expected, rtol=2e-6)
    assert len(traces) == 1
