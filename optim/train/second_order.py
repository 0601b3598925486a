"""The Hessian of a batch's loss: of many units block after block, so that what it takes stays in the caches."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from optim.losses.objective import Objective, Parameters, Sliceable, batch_loss, batch_penalty, total_loss
from optim.optimize.newton import hessian


def batch_hessian(
    objective: Objective,
    trained: Callable[[Float[Array, " p"]], Parameters],
    vector: Float[Array, " p"],
    batch: PyTree,
    constants: PyTree,
) -> Float[Array, "p p"]:
    """The Hessian of `batch_loss` by the vector of the trained parameters.

    Given how much each unit weighs, the loss is a sum over units, and so is its Hessian.

    Args:
        objective: whose loss it is.
        trained: from the vector to the parameters.
        vector: where.
        batch: as `batch_loss` takes it.
        constants: the objective's.
    """
    size = objective.slice_size(batch) if isinstance(objective, Sliceable) else None
    units = len(jax.tree.leaves(batch)[0])
    if size is None or units <= size:
        return hessian(lambda v: batch_loss(objective, trained(v), batch, constants), vector)
    assert isinstance(objective, Sliceable)
    _, counts = objective.losses(trained(vector), batch, constants)
    weights = jax.grad(total_loss)(jnp.zeros_like(counts), counts, objective.aggregate)
    penalty = hessian(lambda v: batch_penalty(objective, trained(v), batch, constants), vector)

    def add(number: Int[Array, ""], total: Float[Array, "p p"]) -> Float[Array, "p p"]:
        # The last block begins early enough to be full: its first units were there before, and weigh nothing now.
        start = jnp.minimum(number * size, units - size)
        part, weight = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, size), (batch, weights))
        weight = jnp.where(start + jnp.arange(size) >= number * size, weight, 0.0)
        return total + hessian(lambda v: weight @ objective.losses(trained(v), part, constants)[0], vector)

    return jax.lax.fori_loop(0, -(-units // size), add, penalty)
