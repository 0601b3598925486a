"""Yeast rises above its onset, dies near its lethal temperature, and never overflows."""

from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Array
from scipy.special import expit, log_expit

from optim.models.processes import Yeast, yeast_activity


def reference(t: float, onset: float = 18.0, lethal: float = 45.0, width: float = 4.0) -> float:
    return float(np.logaddexp(0.0, (t - onset) / width) / (1 + np.exp((t - lethal) / width)))


def test_the_printed_gradient_comes_with_a_finite_activity() -> None:
    value, gradient = jax.value_and_grad(yeast_activity)(500.0)
    assert (value, gradient) == (500.0, 1.0)
    assert jax.grad(jax.grad(yeast_activity))(500.0) == 0.0


def test_it_rises_above_the_onset_and_dies_near_the_lethal_temperature() -> None:
    temperatures = np.array([-20.0, 4.0, 18.0, 27.0, 38.0, 45.0, 60.0, 90.0])
    activity = Yeast()(jnp.asarray(temperatures, jnp.float32))
    np.testing.assert_allclose(activity, [reference(t) for t in temperatures], rtol=2e-5)
    assert int(jnp.argmax(activity)) == 4
    np.testing.assert_allclose(activity[2], np.log(2.0), rtol=2e-3)  # a thousandth has died


@pytest.mark.usefixtures("float64")
def test_its_constants_and_the_temperature_have_the_derivatives_of_finite_differences() -> None:
    graph, constants = nnx.split(Yeast())
    assert all(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(constants))

    def activity(constants: nnx.State, t: Array) -> Array:
        return nnx.merge(graph, constants)(t)

    by_constants, by_temperature = jax.jit(jax.grad(activity, argnums=(0, 1)))(constants, 40.0)
    at = {"onset": 18.0, "lethal": 45.0, "width": 4.0}
    for name, h in {"onset": 1e-4, "lethal": 1e-4, "width": 1e-4}.items():
        up, down = (reference(40.0, **at | {name: at[name] + step}) for step in (h, -h))
        np.testing.assert_allclose(by_constants[name][...], (up - down) / (2 * h), rtol=1e-7)
    np.testing.assert_allclose(by_temperature, (reference(40.0 + 1e-4) - reference(40.0 - 1e-4)) / 2e-4, rtol=1e-7)


@jax.jit
def with_slope(t: Array, onset: Array, lethal: Array, width: Array) -> tuple[Array, Array]:
    graph, constants = nnx.split(Yeast())
    given = {"onset": onset, "lethal": lethal, "width": width}
    yeast = nnx.merge(graph, jax.tree.map_with_path(lambda path, _: given[path[0].key], constants))
    return jax.vmap(jax.value_and_grad(yeast))(t)


@settings(max_examples=25, deadline=None)
@given(
    temperatures=st.lists(st.floats(-300, 600) | st.floats(-1e6, 1e6), min_size=5, max_size=5),
    onset=st.floats(-10, 40),
    lethal=st.floats(30, 90),
    width=st.floats(0.5, 20),
)
def test_activity_and_slope_are_those_of_scipy(
    temperatures: list[float], onset: float, lethal: float, width: float
) -> None:
    t = np.array(temperatures)
    with jax.enable_x64(True):
        found = with_slope(t, *(jnp.float64(number) for number in (onset, lethal, width)))
    activity, slope = (np.asarray(numbers) for numbers in found)
    rising, dying = (t - onset) / width, (lethal - t) / width
    logarithm = -log_expit(-rising)
    expected = logarithm * expit(dying)
    terms = expit(rising) * expit(dying) / width, -expected * expit(-dying) / width
    # What is subtracted is rounded: t, onset and lethal to their own last place, which an exponential magnifies.
    rounding = 4e-16 * (10 + (np.abs(t) + 100) / width)
    assert np.all(np.abs(activity - expected) <= rounding * expected + 1e-300)
    assert np.all(np.abs(slope - sum(terms)) <= rounding * (np.abs(terms[0]) + np.abs(terms[1])) + 1e-300)


def test_only_real_floating_temperatures_are_accepted() -> None:
    unchecked = inspect.unwrap(yeast_activity)
    for wrong, message in ((1j, "be real, and is complex64"), (True, "hold floating numbers, and is bool")):
        with pytest.raises(TypeError, match=f"the temperature must {message}"):
            unchecked(wrong)


def test_extreme_temperatures_leave_everything_finite() -> None:
    for t in (-1e6, -273.15, 500.0, 1e6):
        value, slope = jax.value_and_grad(Yeast())(jnp.float32(t))
        assert abs(value) < 1e-20
        assert abs(slope) < 1e-20


def test_a_width_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the width is 0\.0: it must be greater than 0"):
        Yeast(width=0.0)


def test_it_is_compiled_once_and_serves_vmap() -> None:
    traces = []

    @jax.jit
    def slopes(temperatures: Array) -> Array:
        traces.append(temperatures)
        return jax.vmap(jax.grad(Yeast()))(temperatures)

    for shift in range(3):
        assert slopes(jnp.linspace(20.0, 30.0, 4) + shift).shape == (4,)
    assert len(traces) == 1
