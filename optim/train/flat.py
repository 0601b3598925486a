"""Parameters as one vector a member: an optimizer's update is then one fused loop, whatever the modules look like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree


@dataclass(frozen=True)
class Flat:
    """Between a tree of parameters with a leading member axis and an array (members, p)."""

    unravel: Callable[[Float[Array, " p"]], PyTree]
    """One member's vector → its tree."""

    @classmethod
    def of(cls, tree: PyTree[Float[Array, "members ..."]]) -> Flat:
        """For trees like this one."""
        return cls(ravel_pytree(jax.tree.map(lambda leaf: leaf[0], tree))[1])

    def ravel(self, tree: PyTree[Float[Array, "members ..."]]) -> Float[Array, "members p"]:
        """Tree → array."""
        return jax.vmap(lambda member: ravel_pytree(member)[0])(tree)

    def tree(self, flat: Float[Array, "members p"]) -> PyTree[Float[Array, "members ..."]]:
        """Array → tree."""
        return jax.vmap(self.unravel)(flat)
