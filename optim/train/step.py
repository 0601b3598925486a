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
from optim.losses.customers import customer_gradients
from optim.losses.objective import batch_loss, batch_penalty
from optim.models.flat import Flat
from optim.optimize.newton import WithHessian
from optim.optimize.region import project, significant_gradient
from optim.study.stage import Stage, StageConstants
from optim.study.state import GRADIENT_FAULT, LOSS_FAULT
from optim.train.second_order import batch_hessian


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


COUNTS = ("step", "position", "fault")
"""The other fields: one number each."""


class _Update(NamedTuple):
    """What one update of a member gives."""

    flat: Float[Array, "*members p"]
    optimizer: PyTree
    loss: Float[Array, "*members"]
    gradient: Float[Array, "*members p"]
    """As the optimizer gets it; of a cake, in units of the ranges and without what the constraints forbid."""
    finite: Bool[Array, "*members"]
    """Whether the gradient was finite before that, and the parameters before the update."""
    clipped: dict[str, Int[Array, "*members ..."]]


def by_member(carry: Carry, change: Callable[[Array], Array]) -> Carry:
    """The carry with every array that has a member axis changed."""
    return carry._replace(**{name: jax.tree.map(change, getattr(carry, name)) for name in BY_MEMBER})


def step_function(
    stage: Stage, flat: Flat, constants: StageConstants, origin: Int[Array, ""], each: Callable[[Any], Any]
) -> Callable[[Carry], Carry]:
    """One update of every member; `each` turns a function of one member into one of the carry's."""
    # Gradients by customer are taken in blocks of customers, whose data are looked up there.
    at = units_at if constants.clip_customer_norm is None else index_at
    everyone = None if stage.batch is not None else at(stage, constants, None)

    def step(carry: Carry) -> Carry:
        batch = everyone
        if batch is None:
            batch = at(stage, constants, carry.position - origin)
        member = lambda vector, optimizer: _update(stage, flat, constants, batch, vector, optimizer)
        update: _Update = each(member)(carry.flat, carry.optimizer)
        has_loss = jnp.isfinite(update.loss)
        fault = jnp.where(goes_on(stage, has_loss), GRADIENT_FAULT, LOSS_FAULT)
        fault = jnp.where(goes_on(stage, has_loss & update.finite), 0, fault)
        if stage.bakes:
            update = each(_left_out)(update)
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


def goes_on(stage: Stage, whole: Bool[Array, "*members"]) -> Bool[Array, ""]:
    """Whether a stage can go on, given which members are whole: a fit with all, a bake with any of its starts."""
    return jnp.any(whole) if stage.bakes else jnp.all(whole)


def _left_out(update: _Update) -> _Update:
    """The update of a start; one that is not finite stays out of everything from here on, and shows as NaN."""
    whole = jnp.isfinite(update.loss) & update.finite
    nothing = lambda values: jnp.where(whole, values, jnp.nan)
    return update._replace(flat=nothing(update.flat), loss=nothing(update.loss), gradient=nothing(update.gradient))


def units_at(stage: Stage, constants: StageConstants, position: Int[Array, ""] | None) -> PyTree:
    """The batch at a position of the stage's data order, or everyone."""
    if stage.batch is None:
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
    finite = jnp.all(jnp.isfinite(gradient)) & jnp.all(jnp.isfinite(vector))
    region = constants.region
    if region is None:
        updated, optimizer = _descend(stage, flat, constants, batch, vector, optimizer, loss, gradient)
    else:
        # Amounts are trained in units of their ranges, so that one learning rate serves grams and cups alike.
        gradient = significant_gradient(gradient, vector, region) * region.ranges
        chain = stage.chain(constants.optimizer)
        updates, optimizer = chain.update(gradient, optimizer, vector / region.ranges)
        updated = project(vector + updates * region.ranges, region)
    clip_norm = constants.optimizer.clip_global_norm
    if clip_norm is not None:
        clipped["global"] = (optax.tree.norm(gradient) > clip_norm).astype(jnp.int32)
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
    """An update without constraints; a line search may ask for the loss elsewhere, Newton's method for its Hessian."""
    value = lambda v: batch_loss(stage.objective, flat.unravel(v), batch, constants.objective)
    hessian = lambda v: batch_hessian(stage.objective, flat.unravel, v, batch, constants.objective)
    updates, optimizer = stage.chain(constants.optimizer).update(
        gradient, optimizer, vector, value=loss, grad=gradient, value_fn=WithHessian(value, hessian)
    )
    return optax.apply_updates(vector, updates), optimizer


def _gradient(
    stage: Stage, flat: Flat, constants: StageConstants, batch: PyTree, vector: Float[Array, " p"]
) -> tuple[Float[Array, ""], Float[Array, " p"], dict[str, Int[Array, "..."]]]:
    """Loss and gradient of a batch, limited or clipped by customer where the config says so.

    Args:
        batch: units; where gradients are clipped by customer, their index and mask.
    """
    limits = constants.limits

    def limited(v: Float[Array, " p"], tally: Float[Array, " p"]) -> Float[Array, " p"]:
        return v if limits is None else limit_gradient(v, limits, tally)

    def loss_of(v: Float[Array, " p"], tally: Float[Array, " p"]) -> Float[Array, ""]:
        return batch_loss(stage.objective, flat.unravel(limited(v, tally)), batch, constants.objective)

    nothing, counts = jnp.zeros_like(vector), {}
    if constants.clip_customer_norm is None:
        loss, (gradient, tally) = jax.value_and_grad(loss_of, argnums=(0, 1))(vector, nothing)
    else:
        loss, gradient, clipped = _clipped_by_customer(stage, flat, constants, batch, vector)
        gradient, tally = jax.vjp(limited, vector, nothing)[1](gradient)
        counts["customers"] = clipped
    if limits is not None:
        counts["limits"] = tally.astype(jnp.int32)
    return loss, gradient, counts


def _clipped_by_customer(
    stage: Stage,
    flat: Flat,
    constants: StageConstants,
    customers: tuple[Int[Array, " b"], Bool[Array, " b"]],
    vector: Float[Array, " p"],
) -> tuple[Float[Array, ""], Float[Array, " p"], Int[Array, ""]]:
    """Loss of some customers, and the aggregate of their clipped gradients; a penalty, which is nobody's, in full.

    Args:
        customers: their index and mask.

    Returns:
        Loss, gradient, and whether the gradient of any was clipped.
    """
    index, mask = customers
    found = customer_gradients(
        stage.objective,
        flat.unravel(vector),
        constants.objective,
        clip_norm=constants.clip_customer_norm,
        scale=None if constants.region is None else constants.region.widths,
        index=index,
        mask=mask,
        keep_gradients=False,
    )
    mean = flat.ravel_one(found.mean)
    if constants.region is not None:  # back to units of the score per unit of an ingredient
        mean = mean / constants.region.ranges
    batch = stage.objective.batch(constants.objective, index, mask)
    penalty_of = lambda v: batch_penalty(stage.objective, flat.unravel(v), batch, constants.objective)
    penalty, slope = jax.value_and_grad(penalty_of)(vector)
    return found.loss + penalty, mean + slope, (found.clipped_share > 0).astype(jnp.int32)
