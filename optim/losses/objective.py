"""What a stage minimises, one unit (a customer, mostly) at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact, Int, PyTree

from optim.config.schema import Aggregate
from optim.models.flat import Flat

Parameters = dict[str, Any]
"""Nested dict of arrays, of one member: `model` holds the likelihood model's, `cake` the recipe's."""


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
class Factored(Objective, Protocol):
    """An objective whose units depend on the parameters through numbers that are the same for all of them."""

    def shared(self, trained: Parameters, constants: PyTree) -> PyTree[Inexact[Array, "..."]] | None:
        """Those numbers; None where the units differ in more."""

    def shared_loss(
        self, shared: PyTree[Inexact[Array, "..."]], unit: PyTree, constants: PyTree
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """What `unit_loss` gives."""


def total_loss(sums: Float[Array, " b"], counts: Float[Array, " b"], aggregate: Aggregate) -> Float[Array, ""]:
    """One loss from the units' sums and counts: means are taken here, last and once."""
    if aggregate == "sum":
        return jnp.sum(sums)
    if aggregate == "mean_responses":
        return jnp.sum(sums) / jnp.maximum(jnp.sum(counts), 1.0)
    means = sums / jnp.maximum(counts, 1.0)
    return jnp.sum(means) / jnp.maximum(jnp.sum(counts > 0), 1)


def batch_loss(objective: Objective, trained: Parameters, batch: PyTree, constants: PyTree) -> Float[Array, ""]:
    """Loss of a batch of units."""
    if isinstance(objective, AtOnce):
        sums, counts = objective.losses(trained, batch, constants)
    else:
        sums, counts = jax.vmap(objective.unit_loss, in_axes=(None, 0, None))(trained, batch, constants)
    return total_loss(sums, counts, objective.aggregate)


def unit_gradients(
    objective: Objective, trained: Parameters, batch: PyTree, constants: PyTree
) -> tuple[Float[Array, "b p"], Float[Array, " b"], Float[Array, " b"]]:
    """Each unit's own gradient over all its responses, with its sum of losses and its count.

    The gradient is of the unit's term of the aggregate, before the division by the number of units or responses:
    of its sum, or of its mean for `mean_customers`. Its components are in the order of `optim.models.flat.Flat`.
    """
    shared = objective.shared(trained, constants) if isinstance(objective, Factored) else None
    if isinstance(objective, Factored) and shared is not None and _count(shared) < len(jax.tree.leaves(batch)[0]):
        return _through_shared(objective, shared, trained, batch, constants)
    return _own_gradients(objective.unit_loss, objective.aggregate, trained, batch, constants)


def _through_shared(
    objective: Factored, shared: PyTree, trained: Parameters, batch: PyTree, constants: PyTree
) -> tuple[Float[Array, "b p"], Float[Array, " b"], Float[Array, " b"]]:
    """By the chain rule: what all units share is differentiated once, and not for each unit again."""
    inside, outside = Flat.of_one(shared), Flat.of_one(trained)
    view = lambda vector: inside.ravel_one(objective.shared(outside.unravel(vector), constants))
    slopes = jax.jacrev(view)(outside.ravel_one(trained))
    gradients, sums, counts = _own_gradients(objective.shared_loss, objective.aggregate, shared, batch, constants)
    return jnp.matmul(gradients, slopes, precision="highest"), sums, counts


def _own_gradients(
    loss: Callable[[PyTree, PyTree, PyTree], tuple[Float[Array, ""], Float[Array, ""]]],
    aggregate: Aggregate,
    point: PyTree[Inexact[Array, "..."]],
    batch: PyTree,
    constants: PyTree,
) -> tuple[Float[Array, "b p"], Float[Array, " b"], Float[Array, " b"]]:
    """Gradient of each unit's term at a point, with its sum of losses and its count."""

    def term(point: PyTree, unit: PyTree) -> tuple[Float[Array, ""], tuple[Array, Array]]:
        total, count = loss(point, unit, constants)
        return (total / jnp.maximum(count, 1.0) if aggregate == "mean_customers" else total), (total, count)

    gradients, (sums, counts) = jax.vmap(jax.grad(term, has_aux=True), in_axes=(None, 0))(point, batch)
    # The conjugates of JAX's gradients: of a complex number, the derivatives by its real and its imaginary part.
    return Flat.of_one(point).ravel(jax.tree.map(jnp.conj, gradients)), sums, counts


def _count(tree: PyTree[Array]) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
