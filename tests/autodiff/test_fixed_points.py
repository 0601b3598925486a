"""Fixed points are found or flagged, and their derivatives are those of the solution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Array

from optim.autodiff.fixed_points import Convergence, fixed_point

DOUGH = (0.75, 10.0)
MODES = {
    "forward over forward": lambda f: jax.jacfwd(jax.jacfwd(f)),
    "forward over reverse": lambda f: jax.jacfwd(jax.jacrev(f)),
    "reverse over forward": lambda f: jax.jacrev(jax.jacfwd(f)),
    "reverse over reverse": lambda f: jax.jacrev(jax.jacrev(f)),
}
Function = Callable[..., Any]


def knead(params: Any, m: Any) -> Any:
    return params[0] * m + params[1]


def dough(params: Any, **settings: Any) -> Array:
    return fixed_point(knead, params, 0.0, **settings)[0]


def blend(params: Array, state: dict[str, Array]) -> dict[str, Array]:
    """A contraction of three components in two leaves, which is nonlinear in the state and the parameters."""
    acid, yeast = state["acid"], state["yeast"]
    return {
        "acid": 0.4 * jnp.sin(params[0] * acid) + params[1] * yeast[::-1] ** 2 / 8,
        "yeast": 0.3 * jnp.tanh(acid * params[2]) + jnp.exp(params[1]) * jnp.array([0.2, 0.5]),
    }


def blended(params: Array) -> Array:
    state, _ = fixed_point(blend, params, {"acid": jnp.zeros(2), "yeast": jnp.zeros(2)})
    return jnp.sum(state["acid"] * jnp.array([1.0, -2.0])) + state["yeast"][0] * state["yeast"][1]


def differences(function: Function, x: np.ndarray, h: float) -> np.ndarray:
    """Derivative by central differences of the fourth order, one component after the other, along the last axis."""
    columns = []
    for step in np.eye(len(x)) * h:
        near, far = (function(x + k * step) - function(x - k * step) for k in (1, 2))
        columns.append((8 * np.asarray(near) - np.asarray(far)) / (12 * h))
    return np.stack(columns, -1)


@jax.jit
def solved(params: Any) -> tuple[Array, Convergence, Any, Any]:
    """The dough's fixed point, and its gradients in reverse and forward mode."""
    return *fixed_point(knead, params, 0.0), jax.grad(dough)(params), jax.jacfwd(dough)(params)


def test_the_printed_dough() -> None:
    value, convergence, reverse, forward = solved(DOUGH)
    np.testing.assert_allclose(value, 40.0, rtol=5e-7)
    assert convergence.converged
    assert 40 < convergence.iterations < 80
    assert convergence.residual < 1e-6
    np.testing.assert_allclose(reverse, (160.0, 4.0), rtol=1e-6)
    np.testing.assert_allclose(forward, (160.0, 4.0), rtol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "rtol"), [pytest.param(jnp.float32, 2e-6, marks=pytest.mark.long), (jnp.float64, 1e-12)]
)
def test_the_second_derivatives_of_the_dough_in_every_combination_of_modes(dtype: type, rtol: float) -> None:
    with jax.enable_x64(True):
        params = jnp.array(DOUGH, dtype)
        hessians = jax.jit(lambda p: {name: second(dough)(p) for name, second in MODES.items()})(params)
        for name, hessian in hessians.items():
            assert hessian.dtype == dtype
            np.testing.assert_allclose(hessian, [[1280.0, 16.0], [16.0, 0.0]], rtol=rtol, err_msg=name)


def test_the_third_derivative_is_right_as_well() -> None:
    third = jax.grad(jax.grad(jax.grad(lambda a: dough((a, 10.0)))))
    np.testing.assert_allclose(jax.jit(third)(0.75), 60 / 0.25**4, rtol=1e-5)


@pytest.mark.long
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "modes",
    [
        ("forward over forward", "reverse over reverse"),
        pytest.param(("forward over reverse", "reverse over forward"), marks=pytest.mark.long),
    ],
    ids=["pure", "mixed"],
)
def test_a_nonlinear_tree_has_the_derivatives_of_finite_differences(modes: tuple[str, ...]) -> None:
    params = np.array([1.3, 0.4, -0.8])
    both = jax.jit(jax.value_and_grad(blended))
    value, gradient = (lambda params: both(params)[0]), (lambda params: both(params)[1])
    np.testing.assert_allclose(gradient(params), differences(value, params, 1e-3), rtol=1e-9)
    expected = differences(gradient, params, 1e-3)
    forward, seconds = jax.jit(lambda p: (jax.jacfwd(blended)(p), [MODES[mode](blended)(p) for mode in modes]))(params)
    np.testing.assert_allclose(forward, gradient(params), rtol=1e-12)
    for second in seconds:
        np.testing.assert_allclose(second, expected, rtol=1e-8)


def test_the_update_may_close_over_what_is_differentiated() -> None:
    def closed(params: Array) -> Array:
        return fixed_point(lambda _, m: params[0] * m + params[1], None, jnp.zeros(()))[0]

    params = jnp.array(DOUGH)
    np.testing.assert_allclose(jax.jit(jax.grad(closed))(params), (160.0, 4.0), rtol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.hessian(closed))(params), [[1280.0, 16.0], [16.0, 0.0]], rtol=2e-6)


def test_the_start_gets_no_gradient() -> None:
    for mode in (jax.grad, jax.jacfwd):
        assert jax.jit(mode(lambda start: fixed_point(knead, DOUGH, start)[0]))(3.0) == 0.0


def test_under_vmap_each_row_is_solved_and_flagged_by_itself() -> None:
    def solve(retention: Array) -> Any:
        return fixed_point(knead, (retention, 10.0), 0.0)

    retentions = jnp.array([0.5, 0.75, 1.5, -0.5])
    values, convergence = jax.jit(jax.vmap(solve))(retentions)
    np.testing.assert_array_equal(convergence.converged, [True, True, False, True])
    np.testing.assert_allclose(values[np.array([0, 1, 3])], [20.0, 40.0, 20.0 / 3.0], rtol=1e-6)
    slopes = jax.jit(jax.vmap(jax.grad(lambda a: solve(a)[0])))(retentions)
    np.testing.assert_allclose(slopes[np.array([0, 1, 3])], [40.0, 160.0, 40.0 / 9.0], rtol=1e-6)
    total = jax.jit(jax.grad(lambda a: jnp.sum(jax.vmap(lambda a: solve(a)[0])(a))))(retentions[:2])
    np.testing.assert_allclose(total, [40.0, 160.0], rtol=1e-6)


def test_inside_scan_it_serves_gradient_steps() -> None:
    """Newton steps on the boost reach the maturity that is asked for."""

    def step(boost: Array, _: None) -> tuple[Array, Array]:
        value, slope = jax.value_and_grad(lambda b: dough((0.75, b)))(boost)
        return boost - (value - 60.0) / slope, value

    boost, values = jax.jit(lambda b: jax.lax.scan(step, b, length=3))(jnp.float32(10.0))
    np.testing.assert_allclose(boost, 15.0, rtol=1e-6)
    np.testing.assert_allclose(values, [40.0, 60.0, 60.0], rtol=1e-6)


def test_it_can_be_differentiated_through_a_scan() -> None:
    def days(retention: Array) -> Array:
        step = lambda boost, _: (dough((retention, 0.1 * boost)), None)
        return jax.lax.scan(step, jnp.float32(10.0), length=2)[0]

    # Two days multiply by 0.1 / (1 − a) each: the slope is 2 · 10 · 0.01 / (1 − a)³.
    np.testing.assert_allclose(jax.jit(jax.grad(days))(jnp.float32(0.75)), 0.2 / 0.25**3, rtol=2e-6)


def test_memory_does_not_grow_with_the_iterations() -> None:
    def loss(params: Array, iterations: int) -> Array:
        update = lambda p, x: p[0] * jnp.tanh(x) + p[1]
        return jnp.sum(fixed_point(update, params, jnp.zeros(64), max_iterations=iterations)[0])

    def needed(iterations: int) -> int:
        gradient = jax.jit(jax.grad(lambda params: loss(params, iterations)))
        return gradient.lower(jnp.ones(2)).compile().memory_analysis().temp_size_in_bytes

    assert needed(10) == needed(100_000)


def test_a_complex_state_may_have_an_update_that_is_not_holomorphic() -> None:
    def update(p: Array, z: Array) -> Array:
        return 0.3 * p * jnp.conj(z) + 0.2 * z**2 + (1.0 + 0.5j) * p

    with jax.enable_x64(True):
        parts = lambda p: (lambda z: jnp.stack([z.real, z.imag]))(fixed_point(update, p[0], 0j)[0])
        both = jax.jit(lambda p: (parts(p), jax.jacfwd(parts)(p)))
        solve, slope = (lambda p: both(p)[0]), (lambda p: both(p)[1])
        reverse, second = jax.jit(lambda p: (jax.jacrev(parts)(p), jax.jacfwd(jax.jacfwd(parts))(p)))(np.array([0.5]))
        at = np.array([0.5])
        np.testing.assert_allclose(slope(at), differences(solve, at, 1e-3), rtol=1e-8)
        np.testing.assert_allclose(reverse, slope(at), rtol=1e-12)
        np.testing.assert_allclose(second, differences(slope, at, 1e-3), rtol=1e-8)


@jax.jit
def solve_affine(matrix: Array, boost: Array) -> tuple[Array, Convergence]:
    update = lambda p, x: (p[0] @ x.ravel()).reshape(x.shape) + p[1]
    return fixed_point(update, (matrix, boost), jnp.zeros_like(boost))


@pytest.mark.long
@settings(max_examples=20, deadline=None)
@given(
    kind=st.sampled_from([((), np.float32), ((1,), np.float64), ((2, 2), np.float32), ((2, 2), np.float64)]),
    strength=st.floats(-0.9, 0.9),
    seed=st.integers(0, 2**16),
)
def test_random_contractions_are_solved(kind: tuple[tuple[int, ...], type], strength: float, seed: int) -> None:
    shape, dtype = kind
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape))
    matrix = np.linalg.qr(rng.normal(size=(size, size)))[0] * strength
    boost = rng.normal(size=size) * 10.0 ** rng.integers(-3, 4)
    with jax.enable_x64(True):
        params = (jnp.asarray(matrix, dtype), jnp.asarray(boost.reshape(shape), dtype))
        value, convergence = solve_affine(*params)
        expected = np.linalg.solve(np.eye(size) - np.asarray(params[0], float), np.ravel(params[1]).astype(float))
    assert convergence.converged
    assert (value.shape, value.dtype) == (shape, dtype)
    close = 1000 * float(np.finfo(dtype).eps)  # 64 of the tolerance, over 1 − 0.9
    np.testing.assert_allclose(np.ravel(value), expected, rtol=close, atol=close * (1 + np.abs(expected).max()))


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_tiny_and_huge_scales(scale: float) -> None:
    value, convergence, gradient, _ = solved((0.75, scale))
    assert convergence.converged
    np.testing.assert_allclose(value, 4 * scale, rtol=1e-5)
    np.testing.assert_allclose(gradient, (16 * scale, 4.0), rtol=1e-5)


@pytest.mark.usefixtures("float64")
def test_a_weak_contraction_is_solved_given_the_iterations() -> None:
    gradient = jax.jit(jax.grad(lambda p: dough(p, max_iterations=100_000)))((0.999, 10.0))
    np.testing.assert_allclose(gradient, (1e7, 1e3), rtol=1e-10)
    assert not jax.jit(lambda p: fixed_point(knead, p, 0.0)[1].converged)((0.999, 10.0))


@jax.jit
def solved_from(retentions: Array, start: Array) -> tuple[Array, Convergence]:
    solve = lambda a: fixed_point(knead, (a, jnp.asarray(10.0, a.dtype)), start, max_iterations=300_000)
    return jax.vmap(solve)(retentions)


@pytest.mark.parametrize("start", [0.0, 17_000.0])
@pytest.mark.parametrize(("dtype", "settles"), [(jnp.float32, (0.999,)), (jnp.float64, (0.999, 0.9999))])
def test_a_weak_contraction_is_found_as_far_as_the_precision_can_tell(
    dtype: type, settles: tuple[float, ...], start: float
) -> None:
    """From above, the steps of single precision stop shrinking far from the fixed point: the correction finds it."""
    with jax.enable_x64(True):
        retentions = jnp.array((0.999, 0.9999, 0.999999999), dtype)
        values, convergence = solved_from(retentions, dtype(start))
        np.testing.assert_array_equal(convergence.converged, np.arange(3) < len(settles))
        for value, retention, error in zip(values, settles, convergence.error, strict=False):
            exact = 10.0 / (1.0 - float(dtype(retention)))
            epsilon = float(jnp.finfo(dtype).eps)
            assert abs(value / exact - 1) < error < 2 * epsilon / (1 - retention)


def test_rounding_that_makes_it_swing_is_corrected() -> None:
    value, convergence = fixed_point(knead, (-0.999, 10.0), 0.0, max_iterations=30_000)
    assert convergence.converged
    assert convergence.iterations == 30_000
    np.testing.assert_allclose(value, 10.0 / 1.999, rtol=2e-7)


def test_a_state_at_rest_in_zero() -> None:
    value, convergence = fixed_point(knead, (0.75, jnp.zeros(3)), jnp.zeros(3))
    np.testing.assert_array_equal(value, np.zeros(3))
    assert convergence.converged
    assert convergence.iterations <= 2


def test_without_a_tolerance_it_comes_nearer_than_with_a_loose_one() -> None:
    loose, tight = (fixed_point(knead, DOUGH, 0.0, tol=tol)[1] for tol in (1e-3, None))
    assert loose.converged
    assert loose.iterations < tight.iterations
    # The correction solves a linear update exactly: only another one shows the difference.
    cosine = lambda tol: fixed_point(lambda _, x: jnp.cos(x), None, 0.0, tol=tol)
    (near, loose), (nearer, tight) = cosine(1e-2), cosine(None)
    np.testing.assert_allclose(nearer, 0.7390851332151607, rtol=2e-7)
    assert 1e-6 < abs(near - nearer) < 1e-4
    assert 1e-6 < loose.residual <= 1e-2
    assert loose.error < 0.1
    assert tight.error < 1e-6


@pytest.mark.usefixtures("float64")
def test_the_precision_is_that_of_the_state() -> None:
    for dtype in (jnp.float32, jnp.float64):
        value, convergence = fixed_point(knead, jnp.array(DOUGH, dtype), 0.0)
        assert value.dtype == convergence.residual.dtype == dtype
        assert not value.weak_type


def test_it_is_compiled_once() -> None:
    traces = []

    @jax.jit
    def slopes(params: Array) -> Array:
        traces.append(params)
        return jax.grad(dough)(params)

    for boost in (10.0, 20.0, 30.0):
        np.testing.assert_allclose(slopes(jnp.array([0.75, boost])), (16 * boost, 4.0), rtol=1e-6)
    assert len(traces) == 1
