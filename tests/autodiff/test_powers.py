"""Powers are exact, and their slopes stay finite where an amount is driven to zero."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optim.autodiff import power_with_floored_slope

EXPONENTS = (0.9, 1.1, 1.2)
FLOOR = 1e-6

power = jax.jit(power_with_floored_slope, static_argnums=1)
slope = jax.jit(jax.grad(power_with_floored_slope), static_argnums=1)
curvature = jax.jit(jax.grad(jax.grad(power_with_floored_slope)), static_argnums=1)


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_the_value_is_exact_everywhere(exponent: float) -> None:
    x = jnp.array([0.0, 1e-9, 1e-6, 0.3, 1.0, 7.0])
    np.testing.assert_allclose(power(x, exponent), np.asarray(x, float) ** exponent, rtol=1e-6)
    assert power(x, exponent)[0] == 0.0


@settings(max_examples=25, deadline=None)
@given(x=st.floats(1e-3, 1e3), exponent=st.sampled_from(EXPONENTS))
def test_slope_and_curvature_are_those_of_finite_differences(x: float, exponent: float) -> None:
    with jax.enable_x64(True):
        h = 1e-4 * x
        below, here, above = ((x + k * h) ** exponent for k in (-1, 0, 1))
        np.testing.assert_allclose(slope(x, exponent), (above - below) / (2 * h), rtol=1e-6)
        np.testing.assert_allclose(curvature(x, exponent), (above - 2 * here + below) / h**2, rtol=1e-5)


@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize("x", [0.0, 1e-12, 1e-6])
def test_near_zero_the_slope_is_the_one_at_the_floor(x: float, exponent: float) -> None:
    np.testing.assert_allclose(slope(jnp.float32(x), exponent), exponent * FLOOR ** (exponent - 1), rtol=1e-5)


@pytest.mark.parametrize(
    "derivative",
    [
        jax.grad,
        jax.jacfwd,
        jax.hessian,
        lambda f: jax.jacfwd(jax.value_and_grad(f)),
        lambda f: jax.grad(lambda x: jax.value_and_grad(f)(x)[0]),
        lambda f: jax.grad(jax.grad(jax.grad(f))),
    ],
    ids=["reverse", "forward", "second", "value-and-slope", "value-of-both", "third"],
)
@pytest.mark.parametrize("exponent", [0.9, pytest.param(1.1, marks=pytest.mark.long), 1.2])
def test_every_derivative_at_zero_is_finite(derivative: Callable[..., Callable[..., object]], exponent: float) -> None:
    values = jax.jit(derivative(lambda x: power_with_floored_slope(x, exponent)))(jnp.float32(0.0))
    assert all(bool(jnp.isfinite(value)) for value in jax.tree.leaves(values))


def test_an_unused_power_at_zero_does_not_make_nan() -> None:
    """inf · 0 is what the floor is there for."""
    gradient = jax.grad(lambda x: 0.0 * power_with_floored_slope(x, 0.9))(jnp.float32(0.0))
    assert gradient == 0.0
