"""A mean divides by the sum of its weights, whatever that is; where nothing counts it is 0, and so is its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Bool, Float, Int

from optim.config.schema import Aggregate
from optim.losses.customers import customer_gradients
from optim.losses.objective import Parameters, batch_loss, total_loss, unit_gradients

WEIGHTS = (0.1, 0.0, 0.25, 0.15)
TARGETS = (1.0, 5.0, -2.0, 0.5)


class Units(NamedTuple):
    """Units with a weight each, below 1 in all."""

    weight: Float[Array, "*b"]
    target: Float[Array, "*b"]


class Weighted:
    """Squared distance from each unit's target, times its weight."""

    names = None
    width = 1

    def __init__(self, aggregate: Aggregate, weights: tuple[float, ...] = WEIGHTS) -> None:
        self.aggregate: Aggregate = aggregate
        self.weights = weights

    @property
    def units(self) -> int:
        return len(self.weights)

    def constants(self, parameters: Parameters) -> Units:
        return Units(jnp.array(self.weights), jnp.array(TARGETS[: self.units]))

    def everyone(self, constants: Units) -> Units:
        return constants

    def batch(self, constants: Units, index: Int[Array, " b"], mask: Bool[Array, " b"]) -> Units:
        return Units(jnp.where(mask, constants.weight[index], 0.0), constants.target[index])

    def unit_loss(
        self, trained: Parameters, unit: Units, constants: Units
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        return unit.weight * (trained["x"] - unit.target) ** 2, unit.weight


def by_whole(objective: Weighted) -> tuple[float, float]:
    """Loss and gradient at 0, of the whole batch."""
    constants = objective.constants({})
    loss = lambda trained: batch_loss(objective, trained, constants, constants)
    value, slope = jax.jit(jax.value_and_grad(loss))({"x": jnp.zeros(())})
    return float(value), float(slope["x"])


def by_customer(objective: Weighted) -> tuple[float, float]:
    """The same, from each customer's own gradient."""
    run = lambda trained: customer_gradients(objective, trained, objective.constants({}))
    found = jax.jit(run)({"x": jnp.zeros(())})
    return float(found.loss), float(found.mean["x"])


@pytest.mark.parametrize("found", [by_whole, by_customer])
@pytest.mark.parametrize("aggregate", ["mean_responses", "mean_customers"])
def test_a_mean_of_weights_below_1_is_the_weighted_mean(
    aggregate: Aggregate, found: Callable[[Weighted], tuple[float, float]]
) -> None:
    share = np.array(WEIGHTS) if aggregate == "mean_responses" else np.array(WEIGHTS) > 0
    targets = np.array(TARGETS)
    loss, slope = found(Weighted(aggregate))
    assert loss == pytest.approx(np.average(targets**2, weights=share), rel=1e-6)
    assert slope == pytest.approx(np.average(-2 * targets, weights=share), rel=1e-6)


@pytest.mark.parametrize("found", [by_whole, by_customer])
def test_ten_times_the_weights_are_the_same_mean(found: Callable[[Weighted], tuple[float, float]]) -> None:
    tenfold = tuple(10 * weight for weight in WEIGHTS)
    assert found(Weighted("mean_responses", tenfold)) == pytest.approx(found(Weighted("mean_responses")), rel=1e-6)


def test_a_customer_s_own_mean_divides_by_their_own_weight() -> None:
    objective = Weighted("mean_customers")
    constants = objective.constants({})
    own, _, _ = jax.jit(lambda trained: unit_gradients(objective, trained, constants, constants))({"x": jnp.zeros(())})
    expected = np.where(np.array(WEIGHTS) > 0, -2 * np.array(TARGETS), 0.0)
    np.testing.assert_allclose(own[:, 0], expected, rtol=1e-6)


@pytest.mark.parametrize("found", [by_whole, by_customer])
@pytest.mark.parametrize("aggregate", ["sum", "mean_responses", "mean_customers"])
def test_where_nothing_counts_loss_and_gradient_are_0(
    aggregate: Aggregate, found: Callable[[Weighted], tuple[float, float]]
) -> None:
    assert found(Weighted(aggregate, (0.0, 0.0))) == (0.0, 0.0)


def test_a_gradient_by_the_weights_is_finite_where_one_is_0() -> None:
    """Weights are arrays, which may be differentiated as every constant may."""
    for aggregate in ("mean_responses", "mean_customers"):
        slope = jax.grad(lambda weights, how=aggregate: total_loss(weights * 3.0, weights, how))(jnp.zeros(3))
        assert np.isfinite(slope).all()
