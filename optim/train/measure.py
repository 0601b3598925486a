"""What a stage measures: the held-out loss, and what a logging step writes."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from optim.losses.cake import CakeObjective
from optim.losses.customers import RESPONSES, customer_gradients
from optim.losses.objective import Objective, Parameters, batch_loss, total_loss
from optim.models.flat import Flat
from optim.optimize.chains import learning_rate
from optim.study.stage import Stage, StageConstants
from optim.study.state import Stopping
from optim.train.step import Carry, index_at, units_at

QUANTILES = (0.5, 0.9, 1.0)
WORST = 5


class CustomerStatistics(NamedTuple):
    """Norms of the customers' own gradients at a logging step; of a bake's per range of an ingredient.

    Attributes:
        quantiles: of the norms, at `QUANTILES`.
        clipped_share: share of the customers above `clip_customer_norm`; NaN without one.
        worst: the customers with the largest norms.
        worst_norms: their norms.
    """

    quantiles: Float[Array, " q"]
    clipped_share: Float[Array, ""]
    worst: Int[Array, " w"]
    worst_norms: Float[Array, " w"]


class Measured(NamedTuple):
    """What is written at a logging step.

    Attributes:
        loss: of each member, at the last update, before it.
        gradient_norm: of each member, at the last update.
        learning_rate: of the last update; None for an optimizer without one.
        clipped: shares of the stage's updates so far whose gradient was clipped, by kind.
        recipes: amounts and settings of each member after the update; None for a fit.
        scores: their scores, for the batch of the update; None for a fit.
        customers: None where units are not customers.
    """

    loss: Float[Array, " members"]
    gradient_norm: Float[Array, " members"]
    learning_rate: Float[Array, " members"] | None
    clipped: dict[str, Float[Array, "members ..."]]
    recipes: Float[Array, "members d"] | None
    scores: Float[Array, " members"] | None
    customers: CustomerStatistics | None


def evaluated(
    stage: Stage, flat: Flat, constants: StageConstants, vectors: Float[Array, "members p"], before: Stopping
) -> Stopping:
    """Early stopping after one more evaluation on the held-out responses."""
    evaluation = stage.evaluation
    if evaluation is None:
        return before
    sums, counts = losses_by_unit(evaluation, flat.unravel(vectors[0]), constants.evaluation)
    loss = total_loss(sums, counts, evaluation.aggregate)
    improved = loss < before.best - constants.min_improvement
    stale = jnp.where(improved, 0, before.stale + 1)
    remembered = before.best_parameters
    if stage.patience is not None:
        remembered = jnp.where(improved, vectors, remembered)
    return Stopping(
        held_out_loss=loss,
        best=jnp.where(improved, loss, before.best),
        stale=stale,
        best_parameters=remembered,
        stopped=jnp.bool_(False) if stage.patience is None else stale >= stage.patience,
    )


def measured(stage: Stage, flat: Flat, constants: StageConstants, last: Carry, origin: Int[Array, ""]) -> Measured:
    """What a logging step writes: the last update, and the state after it."""
    steps = (last.step - origin).astype(last.loss.dtype)
    return Measured(
        loss=last.loss,
        gradient_norm=jnp.linalg.norm(last.gradient, axis=1),
        learning_rate=learning_rate(last.optimizer),
        clipped={kind: count / steps for kind, count in last.clipped.items()},
        recipes=last.flat if stage.bakes else None,
        scores=_scores(stage, flat, constants, last, origin) if stage.bakes else None,
        customers=_customer_statistics(stage, flat, constants, last, origin),
    )


def _scores(
    stage: Stage, flat: Flat, constants: StageConstants, last: Carry, origin: Int[Array, ""]
) -> Float[Array, " members"]:
    """Scores of the recipes as they are now, whatever is made of them in training.

    (The loss of an update is that of the recipes before it.)
    """
    assert isinstance(stage.objective, CakeObjective)
    plain = stage.objective.plain
    batch = units_at(stage, constants, last.position - 1 - origin)
    loss_of = lambda v: batch_loss(plain, flat.unravel(v), batch, constants.objective)
    left_out = ~jnp.all(jnp.isfinite(last.flat), axis=1)
    return jnp.where(left_out, jnp.nan, -jax.vmap(loss_of)(last.flat))


def _customer_statistics(
    stage: Stage, flat: Flat, constants: StageConstants, last: Carry, origin: Int[Array, ""]
) -> CustomerStatistics | None:
    """Norms of each customer's own gradient over the batch of the last update, for the member with the least loss."""
    objective = stage.objective
    if objective.names is None:
        return None
    trained = flat.unravel(last.flat[jnp.nanargmin(last.loss)])
    index, mask = index_at(stage, constants, last.position - 1 - origin)
    own = customer_gradients(
        objective,
        trained,
        constants.objective,
        clip_norm=constants.clip_customer_norm,
        scale=None if constants.region is None else constants.region.widths,
        index=index,
        mask=mask,
        keep_gradients=False,
    )
    # What is no number counts as infinite: whose gradient it is should be among the worst, and not be passed over.
    norms = jnp.where(jnp.isnan(own.norms), jnp.inf, own.norms)
    worst_norms, places = jax.lax.top_k(jnp.where(mask, norms, -1.0), min(WORST, len(norms)))
    return CustomerStatistics(
        quantiles=quantiles(norms, mask, jnp.array(QUANTILES, norms.dtype)),
        clipped_share=own.clipped_share,
        worst=index[places],
        worst_norms=worst_norms,
    )


def quantiles(values: Float[Array, " n"], counts: Bool[Array, " n"], shares: Float[Array, " q"]) -> Float[Array, " q"]:
    """Quantiles of those values that count, with straight lines between them; NaN where none does.

    Numbers that are not negative are in the order of their bits, and XLA sorts whole numbers on a CPU in a sixth of the
    time that it takes for floating-point numbers.

    Args:
        values: 0 or more, or infinite; not NaN.
        counts: which of them count.
        shares: from 0 to 1.
    """
    bits = {4: jnp.int32, 8: jnp.int64}[values.dtype.itemsize]
    as_bits = jax.lax.bitcast_convert_type(values, bits)
    in_order = jnp.sort(jnp.where(counts, as_bits, jnp.iinfo(bits).max))  # of which the last are NaN
    ranked = jax.lax.bitcast_convert_type(in_order, values.dtype)
    last = jnp.maximum(jnp.sum(counts, dtype=jnp.int32) - 1, 0)
    place = shares * last.astype(values.dtype)
    low, high = (ranked[jnp.minimum(rounded(place).astype(jnp.int32), last)] for rounded in (jnp.floor, jnp.ceil))
    return jnp.where(low == high, low, low + (high - low) * (place - jnp.floor(place)))


def losses_by_unit(
    objective: Objective, trained: Parameters, constants: PyTree
) -> tuple[Float[Array, " units"], Float[Array, " units"]]:
    """Sum of the losses and count of every unit, gone through in blocks."""

    def one(index: Int[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        return objective.unit_loss(trained, _unit(objective, constants, index, jnp.bool_(True)), constants)

    return jax.lax.map(one, jnp.arange(objective.units, dtype=jnp.int32), batch_size=_block(objective))


def _block(objective: Objective) -> int:
    """Units at once."""
    return max(1, RESPONSES // objective.width)


def _unit(objective: Objective, constants: PyTree, index: Int[Array, ""], mask: Bool[Array, ""]) -> PyTree:
    """The data of a single unit."""
    return jax.tree.map(lambda leaf: leaf[0], objective.batch(constants, index[None], mask[None]))
