"""Complex vibrations: the printed figures, and derivatives where they are delicate."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
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
