"""The maturity of a dough is boost / (1 − retention), with its derivatives, or not a number."""

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

from optim.models.processes import Dough, Yeast, dough_maturity

RECIPE = np.array([500.0, 20.0, 5.0, 2.3])  # flour, sugar, yeast (g), activity
both = jax.jit(jax.value_and_grad(lambda p: dough_maturity(p[0], p[1])))
second = jax.jit(jax.hessian(lambda p: dough_maturity(p[0], p[1])))


def reference(x: np.ndarray, half_flour: float = 500.0 / 3.0, half_sugar: float = 20.0, gain: float = 1.7) -> float:
    flour, sugar, yeast, activity = x
    boost = gain * activity * yeast * sugar / (sugar + half_sugar)
    return boost * (flour + half_flour) / half_flour


def differences(function: Callable[[np.ndarray], ArrayLike], x: np.ndarray) -> np.ndarray:
    steps = np.eye(len(x)) * 1e-4 * np.maximum(x, 1.0)
    return np.array([(np.asarray(function(x + h)) - np.asarray(function(x - h))) / (2 * h.sum()) for h in steps])


def test_the_printed_figures() -> None:
    value, gradient = both(jnp.array([0.75, 10.0]))
    np.testing.assert_allclose(value, 40.0, rtol=5e-7)
    np.testing.assert_allclose(gradient, (160.0, 4.0), rtol=1e-6)
    np.testing.assert_allclose(second(jnp.array([0.75, 10.0])), [[1280.0, 16.0], [16.0, 0.0]], rtol=2e-6)
    assert dough_maturity(0.75, 10) == value


@settings(max_examples=25, deadline=None)
@given(retention=st.floats(-0.999, 0.999), boost=st.floats(-1e6, 1e6))
def test_the_closed_form_and_its_derivatives(retention: float, boost: float) -> None:
    with jax.enable_x64(True):
        at = jnp.array([retention, boost])
        kept = 1 - retention
        value, gradient = both(at)
        np.testing.assert_allclose(value, boost / kept, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(gradient, (boost / kept**2, 1 / kept), rtol=1e-9, atol=1e-8)
        expected = [[2 * boost / kept**3, 1 / kept**2], [1 / kept**2, 0.0]]
        np.testing.assert_allclose(second(at), expected, rtol=1e-9, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_near_a_retention_of_1_it_is_right_or_not_a_number(dtype: type) -> None:
    double = dtype == jnp.float64
    with jax.enable_x64(True):
        for retention, settles in ((0.99, True), (0.999, True), (0.9999, double), (0.99999, double)):
            at = jnp.array([retention, 10.0], dtype)
            kept = 1 - float(at[0])
            value, gradient = both(at)
            if not settles:
                assert jnp.isnan(value)
                assert jnp.isnan(gradient[0])
                continue
            rtol = float(jnp.finfo(dtype).eps) / kept
            np.testing.assert_allclose(value, 10.0 / kept, rtol=rtol)
            np.testing.assert_allclose(gradient, (10.0 / kept**2, 1 / kept), rtol=2 * rtol)


@pytest.mark.parametrize("boost", [10.0, 1e-8, 0.0])
@pytest.mark.parametrize("retention", [1.0, -1.0, 1.5, -3.0, np.nan])
def test_a_dough_that_never_settles_is_not_a_number_and_neither_is_its_gradient(retention: float, boost: float) -> None:
    value, gradient = both(jnp.array([retention, boost]))
    assert jnp.isnan(value)
    assert bool(jnp.any(jnp.isnan(gradient)))


def test_the_default_recipe_matures_to_about_forty() -> None:
    dough = Dough()
    np.testing.assert_allclose(dough(500, 20, 5, Yeast()(27.0)), 39.5, rtol=1e-2)
    np.testing.assert_allclose(500.0 / (500.0 + dough.half_flour[...]), 0.75, rtol=1e-6)


@pytest.mark.usefixtures("float64")
def test_the_module_has_the_derivatives_of_finite_differences() -> None:
    graph, constants = nnx.split(Dough())

    def maturity(constants: nnx.State, x: Array) -> Array:
        return nnx.merge(graph, constants)(*x)

    gradient = jax.jit(jax.grad(maturity, argnums=(0, 1)))
    by_constants, by_recipe = gradient(constants, RECIPE)
    np.testing.assert_allclose(maturity(constants, jnp.asarray(RECIPE)), reference(RECIPE), rtol=1e-12)
    np.testing.assert_allclose(by_recipe, differences(reference, RECIPE), rtol=1e-6)
    fitted = np.array([500.0 / 3.0, 20.0, 1.7])
    found = [by_constants[name][...] for name in ("half_flour", "half_sugar", "gain")]
    np.testing.assert_allclose(found, differences(lambda c: reference(RECIPE, *c), fitted), rtol=1e-6)
    hessian = jax.jit(jax.hessian(maturity, argnums=1))(constants, RECIPE)
    expected = differences(lambda x: gradient(constants, x)[1], RECIPE)
    np.testing.assert_allclose(hessian, expected, rtol=1e-6, atol=1e-10)


def test_amounts_of_zero_are_safe() -> None:
    gradient = jax.jit(jax.value_and_grad(lambda x: Dough()(*x)))
    for zero in range(4):
        value, slope = gradient(jnp.asarray(RECIPE, jnp.float32).at[zero].set(0.0))
        assert value == 0.0 if zero else value > 0.0
        assert bool(jnp.all(jnp.isfinite(slope)))
    assert bool(jnp.all(jnp.isfinite(gradient(jnp.zeros(4))[1])))


def test_half_amounts_must_be_positive() -> None:
    for name in ("half_flour", "half_sugar"):
        with pytest.raises(ValueError, match=rf"{name} is 0\.0: it must be greater than 0"):
            Dough(**{name: 0.0})


def test_the_precision_is_that_of_the_recipe() -> None:
    with jax.enable_x64(True):
        for dtype in (jnp.float32, jnp.float64):
            assert dough_maturity(dtype(0.5), 1.0).dtype == dtype


def test_many_doughs_are_compiled_once() -> None:
    traces = []

    @jax.jit
    def maturities(retentions: Array) -> Array:
        traces.append(retentions)
        return jax.vmap(dough_maturity, in_axes=(0, None))(retentions, 10.0)

    for _ in range(2):
        np.testing.assert_allclose(maturities(jnp.array([0.0, 0.5, 0.75])), (10.0, 20.0, 40.0), rtol=1e-6)
    assert len(traces) == 1
