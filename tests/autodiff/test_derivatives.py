"""Higher derivatives: the printed figures, an independent library, and functions that are not of one number."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optim.autodiff.derivatives import derivatives
from optim.autodiff.labels import Labelled

quality = lambda x: x**3 + 2 * x**2 - 3 * x + 1
bend = lambda x: jnp.exp(jnp.sin(x)) / (1 + x**2)


def test_the_gradient_of_tanh() -> None:
    (slope,) = jax.jit(derivatives(jnp.tanh, 1))(2.0)
    np.testing.assert_allclose(slope, 0.07065081596374512, rtol=2e-6)  # 1 − tanh² cancels, in float32


def test_the_derivatives_of_the_quality() -> None:
    np.testing.assert_array_equal(jax.jit(derivatives(quality, 4))(1.0), [4.0, 10.0, 6.0, 0.0])


@settings(max_examples=15, deadline=None)
@given(x=st.floats(-2.0, 2.0))
def test_they_are_those_of_another_library(x: float) -> None:
    with jax.enable_x64(True), mpmath.workdps(40):
        found = compiled(x)
        wanted = mpmath.taylor(lambda x: mpmath.exp(mpmath.sin(x)) / (1 + x**2), x, 4)
        factorials = [1.0, 2.0, 6.0, 24.0]
        assert found.dtype == jnp.float64
        np.testing.assert_allclose(found, np.array(wanted[1:], float) * factorials, rtol=1e-12, atol=1e-12)


compiled = jax.jit(derivatives(bend, 4))


@pytest.mark.usefixtures("float64")
def test_an_array_is_taken_number_by_number() -> None:
    x = np.linspace(-1.0, 1.0, 6, dtype=np.float32).reshape(2, 3)
    found = jax.jit(derivatives(bend, 3))(x)
    assert found.shape == (3, 2, 3)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found[:, 1, 2], compiled(1.0)[:3], rtol=1e-5)


def test_custom_rules_are_respected() -> None:
    scaled = jax.custom_jvp(lambda x: x**2)
    scaled.defjvp(lambda primals, tangents: (scaled(primals[0]), 7.0 * primals[0] * tangents[0]))
    np.testing.assert_array_equal(derivatives(scaled, 3)(2.0), [14.0, 7.0, 0.0])


@pytest.mark.usefixtures("float64")
def test_they_work_under_transformations_and_compile_once() -> None:
    traces = []

    def counted(x: jax.Array) -> jax.Array:
        traces.append(x)
        return derivatives(bend, 3)(x)

    program, points = jax.jit(counted), jnp.array([-0.5, 0.2, 1.3])
    alone = jnp.stack([program(x) for x in points])
    assert len(traces) == 1
    np.testing.assert_allclose(jax.jit(jax.vmap(derivatives(bend, 3)))(points), alone, rtol=1e-13)
    _, scanned = jax.lax.scan(lambda carry, x: (carry, derivatives(bend, 3)(x)), 0, points)
    np.testing.assert_allclose(scanned, alone, rtol=1e-13)
    fourth = jax.jit(jax.grad(lambda x: derivatives(bend, 3)(x)[2]))(0.2)
    np.testing.assert_allclose(fourth, compiled(0.2)[3], rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: derivatives(quality, 0), ValueError, "order of a derivative is at least 1, and 0 was given"),
        (lambda: inspect.unwrap(derivatives)(quality, 1.5), TypeError, "is a whole number, and 1.5 was given"),
        (lambda: inspect.unwrap(derivatives)(quality, "2"), TypeError, "is a whole number, and '2' was given"),
        (
            lambda: inspect.unwrap(derivatives(quality, 2))(Labelled.vector(("butter", "sugar"), [1.0, 2.0])),
            TypeError,
            r"a function of one number: the point is Labelled\(float32\[2\]: butter, sugar\)",
        ),
        (lambda: derivatives(quality, 2)(1), TypeError, "point must hold floating numbers, and is int32"),
        (lambda: derivatives(quality, 2)(1j), TypeError, "point must be real, and is complex64"),
        (lambda: derivatives(lambda x: jnp.stack([x, x]), 2)(1.0), ValueError, r"one number, .* gave float32\[2\]"),
        (lambda: derivatives(lambda x: 1j * x, 2)(1.0), TypeError, "value must be real, and is complex64"),
    ],
)
def test_what_makes_no_sense_is_refused(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
