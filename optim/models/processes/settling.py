"""What processes settle at that keep a share of what they hold from one time to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from optim.autodiff.fixed_points import fixed_point

LONGEST = 3_000_000
"""Steps; a retention of 0.99999 takes 2,500,000 in double precision."""


def settled(
    update: Callable[[Any, Any], Any], params: PyTree[Array], init: PyTree[Array], retention: Float[Array, ""]
) -> PyTree[Float[Array, "..."]]:
    """The fixed point of an update that keeps a share `retention` of the state; NaN where it does not settle.

    A loss that isn't finite is noticed in training, the last iterate would pass for a result.
    """
    state, convergence = fixed_point(update, params, init, max_iterations=LONGEST)
    # Tiny states meet the tolerance at once, whatever the retention: hence the second condition.
    mark = jnp.where(convergence.converged & (jnp.abs(retention) < 1), 1.0, jnp.nan)
    return jax.tree.map(lambda part: part * mark, state)
