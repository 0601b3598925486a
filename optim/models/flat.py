"""Parameters as one real vector a member: an optimizer's update is then one fused loop, whatever the modules look like.

A complex parameter stands in it by its real and its imaginary part. The gradient with respect to the vector is then
the direction of steepest ascent (JAX's own, with respect to a complex number, is its conjugate), and an optimizer that
keeps statistics of each component treats both parts alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Inexact, PyTree

from optim.autodiff.pairs import as_pairs, joiner


@dataclass(frozen=True)
class Flat:
    """Between a tree of parameters with a leading member axis and an array (members, p)."""

    unravel: Callable[[Float[Array, " p"]], PyTree]
    """One member's vector → its tree."""

    @classmethod
    def of(cls, tree: PyTree[Inexact[Array, "members ..."]]) -> Flat:
        """For trees like this one."""
        return cls.of_one(jax.eval_shape(lambda tree: jax.tree.map(lambda leaf: leaf[0], tree), tree))

    @classmethod
    def of_one(cls, tree: PyTree[Inexact[Array | jax.ShapeDtypeStruct, "..."]]) -> Flat:
        """For trees of which this one, or one of such shapes and types, is a single member's."""
        found: list[Callable[[Array], PyTree]] = []
        jax.eval_shape(lambda tree: found.append(ravel_pytree(as_pairs(tree))[1]), tree)  # shapes are all that it needs
        join, (unravel_pairs,) = joiner(tree), found
        return cls(lambda vector: join(unravel_pairs(vector)))

    def ravel_one(self, tree: PyTree[Inexact[Array, "..."]]) -> Float[Array, " p"]:
        """One member's tree → its vector."""
        return ravel_pytree(as_pairs(tree))[0]

    def ravel(self, tree: PyTree[Inexact[Array, "members ..."]]) -> Float[Array, "members p"]:
        """Tree → array."""
        return jax.vmap(self.ravel_one)(tree)

    def tree(self, flat: Float[Array, "members p"]) -> PyTree[Inexact[Array, "members ..."]]:
        """Array → tree."""
        return jax.vmap(self.unravel)(flat)
