"""Complex vibrations: the printed figures, and derivatives where they are delicate."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Array

from optim.models.processes import Mixer, flavour_stability, smooth_process, tricky_process, vibration_score

Z = 2.0 + 1.0j


def test_the_printed_score_and_its_gradient() -> None:
    value, gradient = jax.value_and_grad(vibration_score)(jnp.array(Z))
    assert value == 1.0
    assert gradient == -1.0 + 2.0j  # the conjugate of the direction of ascent, −1 − 2i


def test_ascent_along_the_conjugate_reaches_the_peak() -> None:
    step = lambda z, _: (z + 0.1 * jnp.conj(jax.grad(vibration_score)(z)), None)
    z, _ = jax.lax.scan(step, jnp.array(Z), length=200)
    np.testing.assert_allclose(z, 1.5, atol=1e-6)
    assert vibration_score(1.5 + 0j) == 2.25


def test_the_printed_holomorphic_derivative() -> None:
    assert smooth_process(Z) == 5.0 + 5.0j
    assert jax.grad(smooth_process, holomorphic=True)(jnp.array(Z)) == 5.0 + 2.0j


def test_the_printed_jacobian_of_the_conjugate() -> None:
    def parts(x: Array) -> Array:
        w = tricky_process(jax.lax.complex(x[0], x[1]))
        return jnp.stack([w.real, w.imag])

    np.testing.assert_array_equal(jax.jacfwd(parts)(jnp.array([2.0, 1.0])), [[1.0, 0.0], [0.0, -1.0]])
    assert jax.grad(tricky_process, holomorphic=True)(jnp.array(Z)) == 1.0  # the misleading one


def test_the_printed_stability() -> None:
    value, gradient = jax.value_and_grad(flavour_stability)(3.0)
    assert (value, gradient) == (10.0, 6.0)
    assert jax.grad(jax.grad(flavour_stability))(3.0) == 2.0
    np.testing.assert_array_equal(flavour_stability(jnp.array([0.0, -2.0])), [1.0, 5.0])


def test_nothing_is_singular_at_zero_or_far_out() -> None:
    assert jax.grad(vibration_score)(jnp.array(0j)) == 3.0
    assert jax.grad(flavour_stability)(0.0) == 0.0
    assert jax.grad(Mixer())(jnp.array(0j)) == 3.0
    assert jax.grad(vibration_score)(jnp.array(1e15 - 1e15j)) == jnp.array(-2e15 - 2e15j)


def test_a_mixer_scores_as_the_vibration_by_default() -> None:
    for z in (Z, 0j, 1.5 + 0j, -3.0 + 0.25j):
        assert Mixer()(z) == vibration_score(z)


@pytest.mark.usefixtures("float64")
def test_a_mixer_is_best_at_its_resonance_which_can_be_fitted() -> None:
    resonance = 0.5 - 2.0j
    graph, constants = nnx.split(Mixer(resonance))

    def smoothness(x: Array, r: Array) -> Array:
        state = jax.tree.map(lambda _: jax.lax.complex(r[0], r[1]), constants)
        return nnx.merge(graph, state)(jax.lax.complex(x[0], x[1]))

    at, peak = np.array([0.3, 0.4]), np.array([0.5, -2.0])
    value, gradient = jax.jit(smoothness), jax.jit(jax.grad(smoothness, argnums=(0, 1)))
    np.testing.assert_allclose(value(peak, peak), abs(resonance) ** 2, rtol=1e-14)
    np.testing.assert_allclose(gradient(peak, peak)[0], [0.0, 0.0], atol=1e-14)
    lines = (lambda h: value(at + h, peak), lambda h: value(at, peak + h))
    for found, along in zip(gradient(at, peak), lines, strict=True):
        expected = [(along(h) - along(-h)) / 2e-4 for h in np.eye(2) * 1e-4]
        np.testing.assert_allclose(found, expected, rtol=1e-8)


PARTS = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)  # compiled programs round subnormal numbers to 0
COMPLEX = st.builds(complex, PARTS, PARTS)


@jax.jit
def everything(z: Array, resonance: Array) -> dict[str, Array]:
    """The scores and processes of a vibration, with their derivatives; those of scores as the direction of ascent."""
    graph, constants = nnx.split(Mixer())
    mixer = nnx.merge(graph, jax.tree.map(lambda _: resonance, constants))
    return {
        "score": vibration_score(z),
        "ascent": jnp.conj(jax.grad(vibration_score)(z)),
        "mixer": mixer(z),
        "mixer ascent": jnp.conj(jax.grad(mixer)(z)),
        "process": smooth_process(z),
        "process slope": jax.grad(smooth_process, holomorphic=True)(z),
        "stability": flavour_stability(z.real),
        "stability slope": jax.grad(flavour_stability)(z.real),
    }


@settings(max_examples=25, deadline=None)
@given(z=COMPLEX, resonance=COMPLEX, precision=st.sampled_from([np.complex64, np.complex128]))
def test_everything_is_as_in_exact_arithmetic(z: complex, resonance: complex, precision: Any) -> None:
    """Each part within a few units in the last place of the sum of the sizes of its terms."""
    with jax.enable_x64(True):
        found = jax.tree.map(np.asarray, everything(precision(z), precision(resonance)))
    x, y, u, v = (Fraction(float(part)) for w in (precision(z), precision(resonance)) for part in (w.real, w.imag))
    terms = {
        "score": ([3 * x, -x * x, -y * y], []),
        "ascent": ([Fraction(3), -2 * x], [-2 * y]),
        "mixer": ([2 * u * x, 2 * v * y, -x * x, -y * y], []),
        "mixer ascent": ([2 * u, -2 * x], [2 * v, -2 * y]),
        "process": ([x * x, -y * y, x], [2 * x * y, y]),
        "process slope": ([2 * x, Fraction(1)], [2 * y]),
        "stability": ([Fraction(1), x * x], []),
        "stability slope": ([2 * x], []),
    }
    for name, parts in terms.items():
        for number, exact in zip((found[name].real, found[name].imag), parts, strict=True):
            allowed = 4 * np.finfo(precision).eps * sum(map(abs, exact)) + 4 * np.finfo(precision).tiny
            assert abs(Fraction(float(number)) - sum(exact)) <= allowed, name


def test_the_precision_is_that_of_the_vibration() -> None:
    assert Mixer().resonance[...].dtype == jnp.complex64
    with jax.enable_x64(True):
        assert Mixer().resonance[...].dtype == jnp.complex128
        for narrow, wide in ((jnp.complex64, jnp.float32), (jnp.complex128, jnp.float64)):
            z = jnp.array(Z, narrow)
            assert vibration_score(z).dtype == wide
            assert smooth_process(z).dtype == tricky_process(z).dtype == narrow
            assert flavour_stability(wide(3.0)).dtype == wide


def test_many_vibrations_are_compiled_once() -> None:
    traces = []

    @jax.jit
    def all_of_them(z: Array) -> tuple[Array, ...]:
        traces.append(z)
        scores = jax.vmap(jax.grad(vibration_score))(z) + jax.vmap(jax.grad(Mixer()))(z)
        return scores, smooth_process(z), tricky_process(z), flavour_stability(z.real)

    for factor in (1.0, 2.0):
        assert all(out.shape == (3,) for out in all_of_them(factor * jnp.array([Z, 0j, 1j])))
    assert len(traces) == 1
