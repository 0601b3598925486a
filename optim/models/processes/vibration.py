"""Vibrations of a mixer as complex numbers: amplitude and phase in one.

`jax.grad` of a real score of a complex z gives the conjugate of the direction in which the score rises.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Complex, Float


def vibration_score(z: Complex[ArrayLike, "*s"]) -> Float[Array, "*s"]:
    """3 Re z − |z|², at its best (2.25) at z = 1.5."""
    return 3.0 * jnp.real(z) - _squared_modulus(z)


def smooth_process(z: Complex[ArrayLike, "*s"]) -> Complex[Array, "*s"]:
    """z² + z, which is holomorphic: its derivative is 2z + 1."""
    return jnp.square(z) + z


def tricky_process(z: Complex[ArrayLike, "*s"]) -> Complex[Array, "*s"]:
    """The conjugate of z, which is holomorphic nowhere: as a map of (Re, Im) its Jacobian is [[1, 0], [0, −1]]."""
    return jnp.conj(z)


def flavour_stability(x: Float[ArrayLike, "*s"]) -> Float[Array, "*s"]:
    """Re((1 + ix) conj(1 + ix)) = 1 + x² of a real x, by way of complex numbers."""
    z = 1.0 + 1j * jnp.asarray(x)
    return jnp.real(z * jnp.conj(z))


class Mixer(nnx.Module):
    """Smoothness of a vibration z: 2 Re(conj(resonance) z) − |z|², at its best at the resonance.

    Args:
        resonance: vibration at which the mixer runs smoothest. The default makes the smoothness `vibration_score`.
    """

    def __init__(self, resonance: complex = 1.5 + 0j) -> None:
        self.resonance = nnx.Param(jnp.array(resonance, complex))

    def __call__(self, vibration: Complex[ArrayLike, ""]) -> Float[Array, ""]:
        """Smoothness of one vibration."""
        return 2.0 * jnp.real(jnp.conj(self.resonance[...]) * vibration) - _squared_modulus(vibration)


def _squared_modulus(z: ArrayLike) -> Array:
    # Not abs(z)², whose derivative passes through a square root that has none at 0.
    return jnp.real(z) ** 2 + jnp.imag(z) ** 2
