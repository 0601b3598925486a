"""The activity of yeast, by temperature."""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from optim.autodiff.softplus import log1pexp, sigmoid
from optim.autodiff.trees import require_real


def yeast_activity(temperature: Float[ArrayLike, "*s"]) -> Float[Array, "*s"]:
    """log(1 + eᵗ) of a scaled temperature t: none when cold, proportional to t when warm, finite at any t.

    Raises:
        TypeError: the temperature does not hold real floating numbers.
    """
    require_real(jnp.asarray(temperature), "the temperature")
    return log1pexp(temperature)


class Yeast(nnx.Module):
    """Activity that rises above an onset and dies near a lethal temperature:

    log(1 + exp((T − onset) / width)) σ((lethal − T) / width), temperatures in degrees Celsius.

    Args:
        onset: temperature from which the activity rises.
        lethal: temperature at which half the yeast is dead.
        width: how gradual both changes are; greater than 0.

    Raises:
        ValueError: `width` is not greater than 0.
    """

    def __init__(self, onset: float = 18.0, lethal: float = 45.0, width: float = 4.0) -> None:
        if not width > 0:
            raise ValueError(f"the width is {width}: it must be greater than 0")
        self.onset = nnx.Param(jnp.array(onset, float))
        self.lethal = nnx.Param(jnp.array(lethal, float))
        self.width = nnx.Param(jnp.array(width, float))

    def __call__(self, temperature: Float[ArrayLike, "*s"]) -> Float[Array, "*s"]:
        """Activity at a temperature in degrees Celsius."""
        width = self.width[...]
        alive = sigmoid((self.lethal[...] - temperature) / width)
        return yeast_activity((temperature - self.onset[...]) / width) * alive
