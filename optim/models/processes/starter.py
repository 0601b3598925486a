"""The balance of yeast and acid in a starter that is refreshed daily."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from optim.models.processes.settling import settled


class StarterState(NamedTuple):
    """What a starter holds when it has settled, in the unit of its feeding."""

    yeast: Float[Array, ""]
    acid: Float[Array, ""]


def starter(feeding: Real[ArrayLike, ""], retention: Real[ArrayLike, ""], souring: Real[ArrayLike, ""]) -> StarterState:
    """The state that repeats from one day to the next; many starters by `jax.vmap`.

    yeast = retention · yeast / (1 + acid) + feeding, acid = retention · acid + souring · yeast

    Args:
        feeding: yeast added a day, at least 0.
        retention: share kept at a refreshment, from 0 to less than 1.
        souring: acid that one unit of yeast makes a day, at least 0.

    Returns:
        The state, to 7e-4 of 1 + |state| in single precision and 3e-8 in double; NaN where it does not settle within
        3,000,000 days or the precision cannot tell it that well, as with any retention outside (−1, 1).
    """
    dtype = jnp.result_type(feeding, retention, souring, float)
    feeding, retention, souring = (jnp.asarray(number, dtype) for number in (feeding, retention, souring))

    def refresh(params: tuple[Array, Array, Array], state: StarterState) -> StarterState:
        feeding, retention, souring = params
        return StarterState(
            yeast=retention * state.yeast / (1.0 + state.acid) + feeding,
            acid=retention * state.acid + souring * state.yeast,
        )

    fresh = StarterState(yeast=feeding, acid=jnp.zeros((), dtype))
    state: StarterState = settled(refresh, (feeding, retention, souring), fresh, retention)
    return state


class Starter(nnx.Module):
    """A starter as a function of its daily feeding.

    Args:
        retention: share kept at a refreshment, from 0 to less than 1.
        souring: acid that one unit of yeast makes a day, at least 0.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, retention: float = 0.5, souring: float = 0.2) -> None:
        if not 0 <= retention < 1:
            raise ValueError(f"the retention is {retention}: it must be from 0 to less than 1")
        if not souring >= 0:
            raise ValueError(f"the souring is {souring}: it must be at least 0")
        self.retention = nnx.Param(jnp.array(retention, float))
        self.souring = nnx.Param(jnp.array(souring, float))

    def __call__(self, feeding: Real[ArrayLike, ""]) -> StarterState:
        """Yeast and acid once the starter has settled."""
        return starter(feeding, self.retention[...], self.souring[...])
