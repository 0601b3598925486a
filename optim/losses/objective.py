"""What a stage minimises, one unit (a customer, mostly) at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree, Real

from optim.config.schema import Aggregate
from optim.models.flat import Flat

Parameters = dict[str, Any]
"""Nested dict of arrays, of one member: `model` holds the likelihood model's, `cake` the recipe's."""


UnitLoss = Callable[[Parameters, PyTree, PyTree], tuple[Float[Array, ""], Float[Array, ""]]]
"""(trained, unit, constants) → loss of one unit summed over its responses, and how many responses (how much weight)."""


@runtime_checkable
class Objective(Protocol):
    """A loss over units. Pure: arrays that it needs travel as `constants`, so nothing large is baked into programs."""

    @property
    def units(self) -> int:
        """How many units there are."""

    @property
    def names(self) -> Sequence[str] | None:
        """Names of the units where they are customers, to say which are worst."""

    @property
    def aggregate(self) -> Aggregate:
        """How the units' losses become one."""

    def constants(self, parameters: Parameters) -> PyTree:
        """Arrays of the stage, including the parameters that it does not train."""

    def batch(self, constants: PyTree, index: Int[Array, " b"], mask: Bool[Array, " b"]) -> PyTree:
        """The data of some units, along a leading axis."""

    def everyone(self, constants: PyTree) -> PyTree:
        """The data of all the units, for `batch_loss`."""

    @property
    def width(self) -> int:
        """Most responses that a unit has, to which a batch pads them all."""

    def unit_loss(
        self, trained: Parameters, unit: PyTree, constants: PyTree
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Loss of one unit summed over its responses, and how many responses (or how much weight) that is."""


@runtime_checkable
class AtOnce(Protocol):
    """An objective that has a quicker way to the losses of a whole batch than one unit at a time."""

    def losses(
        self, trained: Parameters, batch: PyTree, constants: PyTree
    ) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
        """What `unit_loss` gives, for every unit of a batch, or for each of their parts where that serves as well."""


@runtime_checkable
class Sliceable(AtOnce, Protocol):
    """An objective whose batches can be gone through some units at a time: along the leading axis of their arrays."""

    def slice_size(self, batch: PyTree) -> int | None:
        """How many units at a time are best; None where this batch cannot be sliced."""


@runtime_checkable
class Expanding(Protocol):
    """An objective that knows a quicker way to the slopes of many units at one point."""

    def expanded(self, trained: Parameters, constants: PyTree, units: int) -> UnitLoss:
        """`unit_loss` for so many units, right in its value and its first derivatives at `trained`, and only there."""


@runtime_checkable
class Penalised(Protocol):
    """An objective whose loss has a term that belongs to no unit: what the parameters themselves cost."""

    def penalty_of(self, trained: Parameters, batch: PyTree, constants: PyTree) -> Float[Array, ""]:
        """What the loss of a batch has beside the aggregate of its units' losses; 0 without a penalty."""


def total_loss(sums: Float[Array, " b"], counts: Float[Array, " b"], aggregate: Aggregate) -> Float[Array, ""]:
    """One loss from the units' sums and counts: means are taken here, last and once."""
    if aggregate == "sum":
        return jnp.sum(sums)
    if aggregate == "mean_responses":
        return jnp.sum(sums) / divisor(jnp.sum(counts))
    means = sums / divisor(counts)
    return jnp.sum(means) / divisor(jnp.sum(counts > 0))


def divisor(weight: Real[Array, "*units"]) -> Real[Array, "*units"]:
    """What a weighted sum is divided by to become a mean: the sum of the weights, whatever it is; 1 where that is 0.

    Args:
        weight: sums of weights (or counts), 0 or more.
    """
    return jnp.where(weight == 0, 1, weight)


def batch_loss(objective: Objective, trained: Parameters, batch: PyTree, constants: PyTree) -> Float[Array, ""]:
    """Loss of a batch of units, the penalty included where there is one."""
    if isinstance(objective, AtOnce):
        sums, counts = objective.losses(trained, batch, constants)
    else:
        sums, counts = jax.vmap(objective.unit_loss, in_axes=(None, 0, None))(trained, batch, constants)
    return total_loss(sums, counts, objective.aggregate) + batch_penalty(objective, trained, batch, constants)


def batch_penalty(objective: Objective, trained: Parameters, batch: PyTree, constants: PyTree) -> Float[Array, ""]:
    """The part of `batch_loss` that belongs to no unit; 0 for an objective without one."""
    if isinstance(objective, Penalised):
        return objective.penalty_of(trained, batch, constants)
    return jnp.zeros(())


def unit_gradients(
    objective: Objective, trained: Parameters, batch: PyTree, constants: PyTree
) -> tuple[Float[Array, "b p"], Float[Array, " b"], Float[Array, " b"]]:
    """Each unit's own gradient over all its responses, with its sum of losses and its count.

    The gradient is of the unit's term of the aggregate, before the division by the number of units or responses:
    of its sum, or of its mean for `mean_customers`; none has a share in a penalty. Its components are in the order of
    `optim.models.flat.Flat`.
    """
    loss: UnitLoss = objective.unit_loss
    if isinstance(objective, Expanding):
        loss = objective.expanded(trained, constants, len(jax.tree.leaves(batch)[0]))

    def own(trained: Parameters, unit: PyTree) -> tuple[Float[Array, ""], tuple[Array, Array]]:
        total, count = loss(trained, unit, constants)
        term = total / divisor(count) if objective.aggregate == "mean_customers" else total
        return term, (total, count)

    gradients, (sums, counts) = jax.vmap(jax.grad(own, has_aux=True), in_axes=(None, 0))(trained, batch)
    # The conjugates of JAX's gradients: of a complex parameter, the derivatives by its real and its imaginary part.
    return Flat.of_one(trained).ravel(jax.tree.map(jnp.conj, gradients)), sums, counts
