"""The maturity that a dough settles at."""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from optim.models.processes.settling import settled


def dough_maturity(retention: Real[ArrayLike, ""], boost: Real[ArrayLike, ""]) -> Float[Array, ""]:
    """The maturity m = retention · m + boost that repeats from one hour to the next; many doughs by `jax.vmap`.

    It is found by iteration from `boost`, and equals boost / (1 − retention) to 7e-4 of 1 + |maturity| in single
    precision and 3e-8 in double: mostly below ε / (1 − retention), where ε is the machine epsilon.

    Args:
        retention: share of the maturity that remains after an hour, between −1 and 1.
        boost: maturity gained an hour.

    Returns:
        The maturity; NaN where it does not settle within 3,000,000 hours or the precision cannot tell it that well:
        for a retention above about 0.9998 in single precision, above 0.99999 in double, and outside (−1, 1).
    """
    dtype = jnp.result_type(retention, boost, float)
    retention, boost = jnp.asarray(retention, dtype), jnp.asarray(boost, dtype)
    maturity: Array = settled(lambda params, m: params[0] * m + params[1], (retention, boost), boost, retention)
    return maturity


class Dough(nnx.Module):
    """Maturity of a dough from its recipe: flour retains what yeast, fed with sugar, contributes.

    retention = flour / (flour + half_flour), boost = gain · activity · yeast · sugar / (sugar + half_sugar)

    Args:
        half_flour: grams of flour at which half the maturity is retained an hour; greater than 0. The default retains
            0.75 with 500 g.
        half_sugar: grams of sugar at which yeast works at half its rate; greater than 0.
        gain: maturity an hour of one gram of yeast at an activity of 1 with sugar in plenty.

    Raises:
        ValueError: `half_flour` or `half_sugar` is not greater than 0.
    """

    def __init__(self, half_flour: float = 500.0 / 3.0, half_sugar: float = 20.0, gain: float = 1.7) -> None:
        for name, amount in (("half_flour", half_flour), ("half_sugar", half_sugar)):
            if not amount > 0:
                raise ValueError(f"{name} is {amount}: it must be greater than 0")
        self.half_flour = nnx.Param(jnp.array(half_flour, float))
        self.half_sugar = nnx.Param(jnp.array(half_sugar, float))
        self.gain = nnx.Param(jnp.array(gain, float))

    def __call__(
        self,
        flour: Real[ArrayLike, ""],
        sugar: Real[ArrayLike, ""],
        yeast: Real[ArrayLike, ""],
        activity: Real[ArrayLike, ""],
    ) -> Float[Array, ""]:
        """Maturity for amounts in grams, each at least 0, and the activity of the yeast (see `Yeast`)."""
        retention = flour / (flour + self.half_flour[...])
        fed = sugar / (sugar + self.half_sugar[...])
        return dough_maturity(retention, self.gain[...] * activity * yeast * fed)
