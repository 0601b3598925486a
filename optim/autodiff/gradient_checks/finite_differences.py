"""Derivatives along a direction by central differences, with Richardson extrapolation and a step chosen by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

RATIO = 4.0
LEVELS = 12
STEPS = 2.0**-8 * RATIO ** -np.arange(LEVELS)
# Rounding of the function, in units in the last place of its largest value.
ROUNDING = 16


class Difference(NamedTuple):
    """A derivative by finite differences, and how far the rounding of the function can have moved it."""

    derivative: Float[np.ndarray, "*s"]
    rounding: Float[np.ndarray, "*s"]


def samples_along(
    f: Callable[[Float[Array, " n"]], Float[Array, "*s"]], x: Float[Array, " n"], direction: Float[Array, " n"]
) -> Float[Array, " samples *s"]:
    """Values of f at x + step · direction for all steps, then at x − step · direction; traceable.

    Args:
        f: array-valued function; it is called 24 times, one after the other, in a compiled loop.
        x: the point, in double precision, scaled so that 1 is the size of what is varied.
        direction: direction of the derivative, scaled like `x`.
    """
    steps = jnp.asarray(np.concatenate([STEPS, -STEPS]), x.dtype)
    return jax.lax.map(lambda step: f(x + step * direction), steps)


def difference_of(samples: Float[np.ndarray, " samples *s"]) -> Difference:
    """Derivative of f(x + t · direction) with respect to t at 0, from the values of `samples_along`.

    Central differences at steps from 2⁻⁸ down to 1e-9, each a quarter of the one before. Three neighbouring steps are
    extrapolated twice (Richardson, 1911), which leaves an error of order step⁶; of all such triples each component
    takes the one that changed least in its second extrapolation, rounding included. So a coarse step serves a smooth
    function, a fine one a function that bends sharply or is not finite a coarse step away.

    Returns:
        The derivative, of the shape of f(x), in double precision; NaN where no triple is finite.
    """
    epsilon = np.finfo(samples.dtype).eps
    after, before = np.split(samples.astype(np.float64), 2)
    steps = STEPS.reshape(LEVELS, *[1] * (samples.ndim - 1))
    with np.errstate(all="ignore"):
        slopes = (after - before) / (2.0 * steps)
        fourth = (RATIO**2 * slopes[1:] - slopes[:-1]) / (RATIO**2 - 1.0)
        sixth = (RATIO**4 * fourth[1:] - fourth[:-1]) / (RATIO**4 - 1.0)
        values = np.maximum(np.abs(after), np.abs(before)).reshape(LEVELS, -1)
        size = np.max(values, axis=1, where=np.isfinite(values), initial=0.0).reshape(steps.shape)
        rounding = np.broadcast_to((ROUNDING * epsilon * size / steps)[2:], sixth.shape)
        uncertainty = np.abs(sixth - fourth[1:]) + rounding
    best = np.argmin(np.where(np.isfinite(uncertainty), uncertainty, np.inf), axis=0)[np.newaxis]
    chosen = (np.take_along_axis(table, best, axis=0)[0] for table in (sixth, rounding))
    return Difference(*(np.asarray(array) for array in chosen))
