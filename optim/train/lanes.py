"""What runs that are trained side by side must agree on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

T = TypeVar("T")


@dataclass(frozen=True)
class Lanes:
    """How one of several runs, or a run alone, does what may be due to it and not to the others.

    Attributes:
        axis: name of the axis of `jax.vmap` along which the runs lie; None for a run alone.
    """

    axis: str | None

    def any(self, holds: Bool[Array, ""]) -> Bool[Array, ""]:
        """Whether something holds of any run: of all of them the same, which `jax.vmap` needs not to mask a loop."""
        return holds if self.axis is None else jax.lax.pmax(holds.astype(jnp.int32), self.axis) > 0

    def cond(self, due: Bool[Array, ""], work: Callable[[], T], otherwise: Callable[[], T]) -> T:
        """What `work` gives where it is due to this run, else the other; it is only done where it is due to any.

        (`jax.vmap` alone would make of a condition that each run has for itself the work of both branches for all.)
        """
        if self.axis is None:
            alone: T = jax.lax.cond(due, work, otherwise)
            return alone
        chosen = lambda: jax.tree.map(lambda new, old: jnp.where(due, new, old), work(), otherwise())
        found: T = jax.lax.cond(self.any(due), chosen, otherwise)
        return found


ALONE, SIDE_BY_SIDE = Lanes(None), Lanes("runs")
