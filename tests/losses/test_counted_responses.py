"""Large panels: responses that are alike are counted, and second derivatives are taken block after block."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optim.config.schema import Aggregate
from optim.losses import likelihood
from optim.losses.likelihood import CountedResponses
from optim.losses.objective import batch_loss
from optim.models.flat import Flat
from optim.train.second_order import batch_hessian

from .conftest import AGGREGATES, panel_of, swept
from .test_held_out import assert_same, by_customer, by_hand, objective_of, of_everyone

pytestmark = pytest.mark.usefixtures("float64")


ALIKE, UNEQUAL = (5,) * 6, (3, 4, 0, 2, 4, 1)


@pytest.fixture
def as_if_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count the responses of any panel."""
    monkeypatch.setattr(likelihood, "MANY", 1)
    monkeypatch.setattr(likelihood, "ALIKE", 0)


@pytest.mark.usefixtures("as_if_many")
@pytest.mark.parametrize("grouped", [pytest.param(False, marks=pytest.mark.long), True], ids=["pooled", "by group"])
@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_the_loss_over_counts_is_that_of_the_responses(aggregate: Aggregate, grouped: bool) -> None:
    """By the formula, response by response; a mean over customers needs to know whose they are."""
    objective, parameters = objective_of(by_customer(), aggregate, grouped=grouped)
    counted = isinstance(objective.everyone(objective.constants(parameters)), CountedResponses)
    assert counted == (aggregate != "mean_customers")
    assert_same(of_everyone(objective, parameters), by_hand(objective, parameters, range(objective.units)))


@pytest.mark.usefixtures("as_if_many")
def test_a_response_that_nobody_gave_has_no_part_in_the_loss() -> None:
    """Everybody likes everything, and the loss of a dislike is infinite."""
    panel = replace(panel_of((3, 4, 0, 2, 4, 1)), like=np.ones(14, bool))
    loss = lambda utility, like: jnp.where(like == 1, jax.nn.softplus(-utility), jnp.inf)
    objective, parameters = objective_of(panel, "sum", loss=loss)
    assert_same(of_everyone(objective, parameters), by_hand(objective, parameters, range(objective.units)))


def test_few_responses_and_those_that_are_all_different_are_not_counted() -> None:
    objective, parameters = objective_of(by_customer(), "sum")
    assert objective.constants(parameters).counted is None


@pytest.mark.parametrize(
    ("aggregate", "lengths"),
    swept(
        AGGREGATES,
        (ALIKE, UNEQUAL),
        by_default=[("sum", UNEQUAL), ("mean_customers", ALIKE), ("mean_customers", UNEQUAL)],
    ),
)
def test_the_hessian_by_blocks_is_that_of_the_loss(
    aggregate: Aggregate, lengths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likelihood, "SLICE", 10)  # two customers that are alike, or ten responses of the fourteen
    objective, parameters = objective_of(panel_of(lengths), aggregate)
    constants, trained = objective.constants(parameters), {"model": {"utility": parameters["model"]["utility"]}}
    flat, batch = Flat.of_one(trained), objective.everyone(constants)
    point = flat.ravel_one(trained)

    @jax.jit
    def both(v: jax.Array) -> tuple[jax.Array, jax.Array]:
        whole = jax.hessian(lambda w: batch_loss(objective, flat.unravel(w), batch, constants))(v)
        return whole, batch_hessian(objective, flat.unravel, v, batch, constants)

    whole, found = both(point)
    np.testing.assert_allclose(found, whole, rtol=1e-12, atol=1e-15)
