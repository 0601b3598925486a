"""log(1 + eᵗ) and its derivatives are right to the fourth order, from −1e4 to 1e4 and beyond."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optim.autodiff.softplus import log1pexp, sigmoid

ORDERS = (0, 1, 2, 3, 4)
CROSSING = 1.3169578969248167  # of the fourth derivative: log(2 + √3)
NEAR = np.concatenate([np.linspace(-80, 80, 161), np.linspace(-3, 3, 101), CROSSING + np.linspace(-0.02, 0.02, 41)])
FAR = np.array([-1e4, -1e3, -500.0, -104.0, -88.8, -81.0, 81.0, 88.8, 104.0, 500.0, 1e3, 1e4])


@cache
def derivative(order: int) -> Callable[..., jax.Array]:
    function = log1pexp
    for _ in range(order):
        function = jax.grad(function)
    return jax.jit(jax.vmap(function))


@cache
def exact(t: float, order: int) -> float:
    """By mpmath, to 60 digits: derivatives as polynomials in σ, whose own derivative is σ − σ²."""
    with mpmath.workdps(60):
        e = mpmath.exp(-mpmath.mpf(t))
        if order == 0:
            return float(mpmath.log1p(1 / e))
        coefficients = [mpmath.mpf(0), mpmath.mpf(1)]  # of σ^0, σ^1, …
        for _ in range(order - 1):
            raised = [mpmath.mpf(0)] * (len(coefficients) + 1)
            for power, coefficient in enumerate(coefficients):
                raised[power] += power * coefficient
                raised[power + 1] -= power * coefficient
            coefficients = raised
        return float(mpmath.polyval(coefficients, 1 / (1 + e), asc=True))


def largest(order: int) -> float:
    """Largest absolute value of a derivative within |t| ≤ 80."""
    return max(abs(exact(float(t), order)) for t in NEAR)


def errors(order: int, dtype: type[np.floating]) -> tuple[np.ndarray, np.ndarray]:
    points = np.concatenate([NEAR, -NEAR]).astype(dtype)
    true = np.array([exact(float(t), order) for t in points])
    found = derivative(order)(jnp.asarray(points))
    assert found.dtype == dtype
    return np.abs(np.asarray(found, float) - true), np.abs(true)


@pytest.mark.parametrize("order", ORDERS)
def test_each_order_is_right_in_single_precision(order: int) -> None:
    error, size = errors(order, np.float32)
    top = largest(order) if order else 0.0  # the value is right relative to itself
    assert np.all(error <= 1e-6 * size + 1e-7 * top)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.usefixtures("float64")
def test_each_order_is_right_in_double_precision(order: int) -> None:
    error, size = errors(order, np.float64)
    top = largest(order) if order else 0.0
    assert np.all(error <= 2e-15 * size + 2e-16 * top)  # as many units in the last place as in single precision


@pytest.mark.parametrize("order", ORDERS)
def test_far_out_every_order_is_finite_and_right(order: int) -> None:
    found = np.asarray(derivative(order)(jnp.asarray(FAR, jnp.float32)), float)
    true = np.array([exact(float(t), order) for t in FAR.astype(np.float32)])
    assert np.all(np.abs(found - true) <= (1e-35 if order else 1e-35 + 1e-7 * true))


ANYWHERE = st.floats(-1e4, 1e4) | st.floats(-110, 110) | st.floats(-1, 1) | st.sampled_from([-1e4, 1e4, -0.0, 1e-30])


@settings(max_examples=25, deadline=None)
@given(points=st.lists(ANYWHERE, min_size=4, max_size=4), dtype=st.sampled_from([np.float32, np.float64]))
def test_every_order_is_right_anywhere(points: list[float], dtype: type[np.floating]) -> None:
    at, units = np.array(points, dtype), np.finfo(dtype).eps / np.finfo(np.float64).eps
    with jax.enable_x64(True):
        found = [np.asarray(derivative(order)(jnp.asarray(at))) for order in ORDERS]
    for order, numbers in zip(ORDERS, found, strict=True):
        true = np.array([exact(float(t), order) for t in at])
        top = largest(order) if order else 0.0
        allowed = units * (2e-15 * np.abs(true) + 2e-16 * top) + 4 * np.finfo(dtype).tiny
        assert numbers.dtype == dtype
        assert np.all(np.abs(numbers.astype(float) - true) <= allowed), order


@pytest.mark.parametrize("function", [log1pexp, sigmoid])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (jnp.array(1j), "must be real, and is complex64"),
        (jnp.array([True]), "must hold floating numbers, and is bool"),
        (jnp.array(200, jnp.uint8), "must hold floating numbers, and is uint8: convert it, or write 1.0 for 1"),
        (3, "must hold floating numbers, and is int32"),
    ],
    ids=["complex", "bool", "unsigned", "int"],
)
def test_only_real_floating_numbers_are_accepted(
    function: Callable[..., jax.Array], given: object, message: str
) -> None:
    unchecked = inspect.unwrap(function.fun)
    for call in (unchecked, jax.jit(unchecked)):
        with pytest.raises(TypeError, match=f"the argument of {function.__name__} {message}"):
            call(given)


def test_the_printed_figure() -> None:
    """At 500 the direct formula gives a slope of 1 and a value of infinity."""
    assert log1pexp(500.0) == 500.0
    assert jax.grad(log1pexp)(500.0) == 1.0
    assert jax.grad(jax.grad(log1pexp))(500.0) == 0.0


def test_infinity_and_nan() -> None:
    ends = jnp.array([-np.inf, np.inf, np.nan])
    limits = ([0.0, np.inf, np.nan], [0.0, 1.0, np.nan], [0.0, 0.0, np.nan], [0.0, 0.0, np.nan], [0.0, 0.0, np.nan])
    for order, expected in enumerate(limits):
        np.testing.assert_array_equal(derivative(order)(ends), expected)


def test_forward_and_reverse_mode_agree_in_every_nesting() -> None:
    expected = exact(0.7, 4)
    forward, reverse = jax.jacfwd, jax.grad
    for modes in ([forward] * 4, [reverse] * 4, [forward, reverse] * 2, [reverse, forward, forward, reverse]):
        function: Callable[..., jax.Array] = log1pexp
        for mode in modes:
            function = mode(function)
        np.testing.assert_allclose(jax.jit(function)(0.7), expected, rtol=2e-6)


def test_the_fifth_derivative_follows_as_well() -> None:
    function: Callable[..., jax.Array] = log1pexp
    for _ in range(5):
        function = jax.grad(function)
    np.testing.assert_allclose(jax.jit(function)(0.7), exact(0.7, 5), rtol=2e-6)


def test_the_logistic_function_is_relatively_precise_on_both_sides() -> None:
    t = np.linspace(-80, 80, 161, dtype=np.float32)
    np.testing.assert_allclose(sigmoid(jnp.asarray(t)), [exact(float(x), 1) for x in t], rtol=1e-6)
    np.testing.assert_array_equal(sigmoid(jnp.array([-1e4, 0.0, 1e4])), [0.0, 0.5, 1.0])


def test_it_is_compiled_once() -> None:
    traces = []

    @jax.jit
    def slopes(t: jax.Array) -> jax.Array:
        traces.append(t)
        return jax.vmap(jax.grad(lambda x: log1pexp(x) + sigmoid(x)))(t)

    for shift in range(3):
        slopes(jnp.linspace(-1.0, 1.0, 5) + shift)
    assert len(traces) == 1
