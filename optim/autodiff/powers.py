"""Powers whose slope stays finite at zero."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

SLOPE_FLOOR = 1e-6


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def power_with_floored_slope(x: Float[Array, "*s"], exponent: float) -> Float[Array, "*s"]:
    """x^exponent for x ≥ 0: the value is exact, the slope is taken at max(x, 1e-6).

    A power below 1 has an infinite slope at 0, and inf · 0 is NaN: an optimisation that drives an amount to 0
    would be lost. With the floor the slope at 0 is large and finite, and every higher derivative is finite too.
    """
    return jnp.power(x, exponent)


@power_with_floored_slope.defjvp
def _jvp(
    exponent: float, primals: tuple[Float[Array, "*s"]], tangents: tuple[Float[Array, "*s"]]
) -> tuple[Float[Array, "*s"], Float[Array, "*s"]]:
    (x,), (tangent,) = primals, tangents
    slope = exponent * jnp.power(jnp.maximum(x, SLOPE_FLOOR), exponent - 1.0)
    # The value by this rule, not by `jnp.power`: a derivative of value and slope together stays finite as well.
    return power_with_floored_slope(x, exponent), slope * tangent
