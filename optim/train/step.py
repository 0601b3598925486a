"""One update of a stage: a batch, its loss and gradient, the optimizer, and the constraints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree

from optim.autodiff import limit_gradient
from optim.data.order import batch_at
from optim.losses.objective import Objective, batch_loss, denominator, total_loss, unit_gradients
from optim.optimize.projection import feasible_gradient, project
from optim.train.flat import Flat
from optim.train.stage import Stage, StageConstants
from optim.train.state import GRADIENT_FAULT, LOSS_FAULT


class Carry(NamedTuple):
    """What a loop of steps carries: fields of `State`, with the trained parameters flat, and the last update's loss."""

    step: Int[Array, ""]
    position: Int[Array, ""]
    fault: Int[Array, ""]
    flat: Float[Array, "members p"]
    optimizer: PyTree
    clipped: dict[str, Int[Array, "members ..."]]
    loss: Float[Array, " members"]
    gradient: Float[Array, "members p"]


BY_MEMBER = ("flat", "optimizer", "clipped", "loss", "gradient")
"""Fields of `Carry` with a leading member axis."""


class _Update(NamedTuple):
    """What one update of a member gives."""

    flat: Float[Array, "*members p"]
    optimizer: PyTree
    loss: Float[Array, "*members"]
    gradient: Float[Array, "*members p"]
    """As the optimizer gets it; of a cake, in units of the ranges and without what the constraints forbid."""
    finite: Bool[Array, "*members"]
    """Whether the gradient was finite before that."""
    clipped: dict[str, Int[Array, "*members ..."]]


def by_member(carry: Carry, change: Callable[[Array], Array]) -> Carry:
    """The carry with every array that has a member axis changed."""
    return carry._replace(**{name: jax.tree.map(change, getattr(carry, name)) for name in BY_MEMBER})


def step_function(
    stage: Stage, flat: Flat, constants: StageConstants, origin: Int[Array, ""], each: Callable[[Any], Any]
) -> Callable[[Carry], Carry]:
    """One update of every member; `each` turns a function of one member into one of the carry's."""
    everyone = None if stage.batch is not None else units_at(stage, constants, None)

    def step(carry: Carry) -> Carry:
        batch = everyone
        if batch is None:
            batch = units_at(stage, constants, carry.position - origin)
        member = lambda vector, optimizer: _update(stage, flat, constants, batch, vector, optimizer)
        update: _Update = each(member)(carry.flat, carry.optimizer)
        fault = jnp.where(jnp.all(jnp.isfinite(update.loss)), 0, LOSS_FAULT)
        fault |= jnp.where(jnp.all(update.finite), 0, GRADIENT_FAULT)
        return Carry(
            step=carry.step + 1,
            position=carry.position + 1,
            fault=carry.fault | fault,
            flat=update.flat,
            optimizer=update.optimizer,
            clipped=jax.tree.map(jnp.add, carry.clipped, update.clipped),
            loss=update.loss,
            gradient=update.gradient,
        )

    return step


def units_at(stage: Stage, constants: StageConstants, position: Int[Array, ""] | None) -> PyTree:
    """The batch at a position of the stage's data order, or everyone."""
    if stage.batch is None and constants.clip_customer_norm is None:
        return stage.objective.everyone(constants.objective)
    index, mask = index_at(stage, constants, position)
    return stage.objective.batch(constants.objective, index, mask)


def index_at(
    stage: Stage, constants: StageConstants, position: Int[Array, ""] | None
) -> tuple[Int[Array, " b"], Bool[Array, " b"]]:
    if stage.batch is None or position is None:
        count = stage.objective.units
        return jnp.arange(count, dtype=jnp.int32), jnp.ones(count, bool)
    return batch_at(constants.order_seed, position, stage.objective.units, stage.batch)


def _update(
    stage: Stage,
    flat: Flat,
    constants: StageConstants,
    batch: PyTree,
    vector: Float[Array, " p"],
    optimizer: PyTree,
) -> _Update:
    """One update of one member."""
    loss, gradient, clipped = _gradient(stage, flat, constants, batch, vector)
    finite = jnp.all(jnp.isfinite(gradient))
    bounds = constants.bounds
    if bounds is None:
        updated, optimizer = _descend(stage, flat, constants, batch, vector, optimizer, loss, gradient)
    else:
        # Amounts are trained in units of their ranges, so that one learning rate serves grams and cups alike.
        gradient = feasible_gradient(gradient, vector, bounds) * bounds.ranges
        updates, optimizer = stage.optimizer.update(gradient, optimizer, vector / bounds.ranges)
        updated = project(vector + updates * bounds.ranges, bounds)
    if constants.clip_global_norm is not None:
        clipped["global"] = (optax.tree.norm(gradient) > constants.clip_global_norm).astype(jnp.int32)
    return _Update(updated, optimizer, loss, gradient, finite, clipped)


def _descend(
    stage: Stage,
    flat: Flat,
    constants: StageConstants,
    batch: PyTree,
    vector: Float[Array, " p"],
    optimizer: PyTree,
    loss: Float[Array, ""],
    gradient: Float[Array, " p"],
) -> tuple[Float[Array, " p"], PyTree]:
    """An update without constraints; a line search may ask for the loss elsewhere."""
    loss_of = lambda v: batch_loss(stage.objective, flat.unravel(v), batch, constants.objective)
    updates, optimizer = stage.optimizer.update(
        gradient, optimizer, vector, value=loss, grad=gradient, value_fn=loss_of
    )
    return optax.apply_updates(vector, updates), optimizer


def _gradient(
    stage: Stage, flat: Flat, constants: StageConstants, batch: PyTree, vector: Float[Array, " p"]
) -> tuple[Float[Array, ""], Float[Array, " p"], dict[str, Int[Array, "..."]]]:
    """Loss and gradient of a batch, limited or clipped by customer where the config says so."""
    limits = constants.limits

    def limited(v: Float[Array, " p"], tally: Float[Array, " p"]) -> Float[Array, " p"]:
        return v if limits is None else limit_gradient(v, limits, tally)

    def loss_of(v: Float[Array, " p"], tally: Float[Array, " p"]) -> Float[Array, ""]:
        return batch_loss(stage.objective, flat.unravel(limited(v, tally)), batch, constants.objective)

    nothing = jnp.zeros_like(vector)
    if constants.clip_customer_norm is None:
        loss, (gradient, tally) = jax.value_and_grad(loss_of, argnums=(0, 1))(vector, nothing)
    else:
        loss, gradient = _clipped_by_customer(stage.objective, flat, constants, batch, vector)
        gradient, tally = jax.vjp(limited, vector, nothing)[1](gradient)
    return loss, gradient, {} if limits is None else {"limits": tally.astype(jnp.int32)}


def _clipped_by_customer(
    objective: Objective, flat: Flat, constants: StageConstants, batch: PyTree, vector: Float[Array, " p"]
) -> tuple[Float[Array, ""], Float[Array, " p"]]:
    """Loss, and the aggregate of the customers' own gradients, each scaled down to the norm that is allowed."""
    trained = flat.unravel(vector)
    gradients, sums, counts = unit_gradients(objective, trained, batch, constants.objective)
    rows = flat.ravel(gradients)
    norms = jnp.linalg.norm(rows, axis=1)
    assert constants.clip_customer_norm is not None
    scale = jnp.minimum(1.0, constants.clip_customer_norm / jnp.maximum(norms, jnp.finfo(rows.dtype).tiny))
    gradient = jnp.sum(rows * scale[:, None], axis=0) / denominator(counts, objective.aggregate)
    return total_loss(sums, counts, objective.aggregate), gradient
