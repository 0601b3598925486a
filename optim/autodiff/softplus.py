"""log(1 + eᵗ) and the logistic function, with derivatives of every order that neither overflow nor cancel.

With e = e^−|t|, every quantity below is a quotient of small numbers, and their derivatives close on one another:
log(1 + eᵗ)′ = σ, σ′ = p, p′ = u, u′ = p w, w′ = −6 u. Each is a rule of its own, because the product rule applied
to p = σ(t) σ(−t) subtracts nearly equal numbers where a derivative crosses zero.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from optim.autodiff.trees import require_real

ROOT = 2.0 + 3.0**0.5  # of 1 − 4e + e²; the other root is its reciprocal


@jax.custom_jvp
def log1pexp(t: Float[ArrayLike, "*s"]) -> Float[Array, "*s"]:
    """log(1 + eᵗ), for any t: t itself far to the right, eᵗ far to the left, and NaN only where t is NaN.

    Its slope is σ(t), also at ±∞ (1 and 0). Forward and reverse mode of any order.

    Raises:
        TypeError: t does not hold real floating numbers.
    """
    require_real(jnp.asarray(t), "the argument of log1pexp")
    return jnp.maximum(t, 0.0) + jnp.log1p(_decay(t))


@jax.custom_jvp
def sigmoid(t: Float[ArrayLike, "*s"]) -> Float[Array, "*s"]:
    """σ(t) = 1 / (1 + e^−t), of full relative precision on both sides. Its slope is σ(t) σ(−t).

    Raises:
        TypeError: t does not hold real floating numbers.
    """
    require_real(jnp.asarray(t), "the argument of sigmoid")
    decay = _decay(t)
    return jnp.where(jnp.greater_equal(t, 0.0), 1.0, decay) / (1.0 + decay)


@jax.custom_jvp
def _slope(t: ArrayLike) -> Array:
    """p = σ(t) σ(−t)."""
    decay = _decay(t)
    return decay / (1.0 + decay) ** 2


@jax.custom_jvp
def _curvature(t: ArrayLike) -> Array:
    """u = p′ = −p tanh(t/2)."""
    return _slope(t) * jnp.sign(t) * jnp.expm1(-jnp.abs(t)) / (1.0 + _decay(t))


@jax.custom_jvp
def _third_over_slope(t: ArrayLike) -> Array:
    """w = u′/p = 1 − 6p = (1 − 4e + e²) / (1 + e)², its numerator factored."""
    decay = _decay(t)
    return (decay - 1.0 / ROOT) * (decay - ROOT) / (1.0 + decay) ** 2


def _decay(t: ArrayLike) -> Array:
    return jnp.exp(-jnp.abs(t))


log1pexp.defjvps(lambda tangent, _, t: sigmoid(t) * tangent)
sigmoid.defjvps(lambda tangent, _, t: _slope(t) * tangent)
_slope.defjvps(lambda tangent, _, t: _curvature(t) * tangent)
_curvature.defjvps(lambda tangent, _, t: _slope(t) * _third_over_slope(t) * tangent)
_third_over_slope.defjvps(lambda tangent, _, t: -6.0 * _curvature(t) * tangent)
