"""The cake: a Flax module whose parameters are a recipe."""

from __future__ import annotations

from flax import nnx
from jaxtyping import Array, Float


class Cake(nnx.Module):
    """A recipe to be trained: one amount an ingredient, in the user's units.

    The amounts are the parameters themselves. They are kept inside their bounds and total by an exact projection
    after every update (`optim.optimize.projection`), so that an answer on a bound is reached and not approached.
    """

    def __init__(self, amounts: Float[Array, " n"]) -> None:
        self.amounts = nnx.Param(amounts)

    def __call__(self) -> Float[Array, " n"]:
        return self.amounts[...]
