"""Linear systems are solved by their products: small ones densely, large ones by GMRES inside a fixed point."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from optim.autodiff.fixed_points import fixed_point
from optim.autodiff.linear_systems import solve_linear


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("size", [1, 5, pytest.param(200, marks=pytest.mark.long)])
def test_a_system_over_a_tree_is_solved_and_differentiated_in_both_modes(size: int) -> None:
    rng = np.random.default_rng(size)
    matrix = np.eye(size + 1) + 0.4 * np.linalg.qr(rng.normal(size=(size + 1, size + 1)))[0]
    right = rng.normal(size=size + 1)

    def solve(factor: Array) -> Array:
        def apply(x: dict[str, Array]) -> dict[str, Array]:
            product = factor * matrix @ jnp.concatenate([x["acid"], x["yeast"][None]])
            return {"acid": product[:-1], "yeast": product[-1]}

        found = solve_linear(apply, {"acid": jnp.array(right[:-1]), "yeast": jnp.array(right[-1])})
        return jnp.concatenate([found["acid"], found["yeast"][None]])

    total = lambda factor: jnp.sum(solve(factor))
    value, forward, reverse = jax.jit(lambda f: (solve(f), jax.jacfwd(solve)(f), jax.grad(total)(f)))(2.0)
    expected = np.linalg.solve(2.0 * matrix, right)
    for found, true in ((value, expected), (forward, -expected / 2.0), (reverse, -expected.sum() / 2.0)):
        np.testing.assert_allclose(found, true, rtol=1e-9, atol=1e-10)


@pytest.mark.long
@pytest.mark.usefixtures("float64")
def test_a_large_state_is_differentiated_by_products_alone() -> None:
    """x = a S x + b with a cyclic shift S of 100,000 components: each sum over them is a geometric series."""
    size, a = 100_000, 0.5
    boost, weights = np.random.default_rng(0).normal(size=(2, size))

    def weighed(params: tuple[Array, Array]) -> Array:
        state, _ = fixed_point(lambda p, x: p[0] * jnp.roll(x, 1) + p[1], params, jnp.zeros(size))
        return state @ weights

    def series(vector: np.ndarray, shift: int) -> np.ndarray:
        return sum(a**k * np.roll(vector, k * shift) for k in range(60))

    adjoint, state = series(weights, -1), series(boost, 1)
    along = (jnp.ones(()), jnp.zeros(size))
    gradient, product = jax.jit(lambda p: jax.jvp(jax.grad(weighed), (p,), (along,)))((jnp.array(a), jnp.array(boost)))
    np.testing.assert_allclose(gradient[1], adjoint, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(gradient[0], adjoint @ np.roll(state, 1), rtol=1e-9)
    np.testing.assert_allclose(product[0], 2 * adjoint @ np.roll(series(np.roll(state, 1), 1), 1), rtol=1e-8)
    np.testing.assert_allclose(product[1], series(np.roll(adjoint, -1), -1), rtol=1e-8, atol=1e-8)


def shifted(size: int, a: float) -> np.ndarray:
    """I − a S for a cyclic shift S: near a = 1 as hard for GMRES as it gets."""
    return np.eye(size) - a * np.roll(np.eye(size), 1, 0)


@pytest.mark.long
@pytest.mark.parametrize(
    ("dtype", "size", "a", "tolerance"),
    [
        (np.float32, 200, 0.97, 2e-6),
        # The derivatives below solve the same system in single precision, as exactly.
        pytest.param(np.float32, 129, 0.999, 1e-4, marks=pytest.mark.long),
        (np.float64, 129, 0.999, 1e-11),
    ],
)
def test_a_large_system_is_solved_to_the_precision(dtype: type, size: int, a: float, tolerance: float) -> None:
    """At 0.97, a residual of √ε would leave 5e-5; at 0.999, GMRES fails."""
    right = np.random.default_rng(1).normal(size=size)
    factor = dtype(a)
    with jax.enable_x64(True):
        found = jax.jit(lambda v: solve_linear(lambda x: x - factor * jnp.roll(x, 1), v))(jnp.asarray(right, dtype))
    assert found.dtype == dtype
    expected = np.linalg.solve(shifted(size, float(factor)), right)
    np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max(), rtol=0)


@pytest.mark.long
def test_a_weak_contraction_has_derivatives_in_both_modes_beyond_the_dense_size() -> None:
    size, a = 129, float(np.float32(0.999))
    boost, weights = np.random.default_rng(0).normal(size=(2, size))

    def solve(a: Array) -> tuple[Array, Array]:
        update = lambda a, x: a * jnp.roll(x, 1) + boost.astype(np.float32)
        value, convergence = fixed_point(update, a, jnp.zeros(size), max_iterations=100_000)
        return value, convergence.converged

    def both(a: Array) -> tuple[Array, ...]:
        value, push, converged = jax.linearize(solve, a, has_aux=True)
        (reverse,) = jax.linear_transpose(push, a)(jnp.asarray(weights, jnp.float32))
        return value, push(jnp.ones_like(a)), reverse, converged

    value, forward, reverse, converged = jax.jit(both)(jnp.float32(a))
    assert converged
    state = np.linalg.solve(shifted(size, a), boost)
    tangent = np.linalg.solve(shifted(size, a), np.roll(state, 1))
    for found, expected in ((value, state), (forward, tangent), (reverse, weights @ tangent)):
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)


@jax.jit
def large_gradient(scale: Array, retention: Array) -> Array:
    solve = lambda b: fixed_point(lambda b, x: retention * x + b, b, b)[0]
    return jax.grad(lambda b: jnp.sum(solve(b)) * scale)(jnp.zeros(200))


@pytest.mark.long
def test_a_large_state_of_any_scale_keeps_its_gradient() -> None:
    """The squares of 1e-20 and 1e20 are beyond single precision."""
    for scale in (1e-20, 1.0, 1e20):
        np.testing.assert_allclose(large_gradient(scale, 0.5), np.full(200, 2 * scale), rtol=1e-5)


@pytest.mark.long
def test_a_large_system_that_cannot_be_solved_gives_nan() -> None:
    """1 − ∂f/∂x = 0: the iteration is at rest, the derivative does not exist."""
    assert bool(jnp.all(jnp.isnan(large_gradient(1.0, 1.0))))
