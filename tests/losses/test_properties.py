"""The squared error of fitted properties, in units of their spread."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from optim.config.errors import UserError
from optim.losses.objective import Parameters, batch_loss
from optim.losses.properties import PropertyObjective

from .conftest import model_of, panel_of

COLUMNS = ("crunch", "aroma")


def objective_of() -> tuple[PropertyObjective, Parameters]:
    panel = panel_of((1,) * 6)
    model, parameters = model_of(
        panel, panel.ingredients, properties={"kind": "scheffe", "degree": 2, "columns": list(COLUMNS)}
    )
    return PropertyObjective(panel, model, COLUMNS), parameters


def loss_of(objective: PropertyObjective, parameters: Parameters, index: list[int], mask: list[bool]) -> Array:
    constants = objective.constants(parameters)
    batch = objective.batch(constants, jnp.asarray(index, jnp.int32), jnp.asarray(mask))
    return batch_loss(objective, {"model": {"properties": parameters["model"]["properties"]}}, batch, constants)


def test_untrained_it_is_the_number_of_properties() -> None:
    """Predicting the means, each squared error is one variance on average."""
    objective, parameters = objective_of()
    assert float(loss_of(objective, parameters, list(range(6)), [True] * 6)) == pytest.approx(2.0, rel=1e-5)


def test_it_is_the_plain_computation_over_the_recipes_that_count() -> None:
    objective, parameters = objective_of()
    weights = np.arange(12.0).reshape(2, 6) / 10
    parameters["model"]["properties"]["weights"] = jnp.asarray(weights)
    errors = []
    for recipe in (4, 1):
        x = objective.panel.amounts[recipe] / objective.panel.amounts[recipe].sum()
        terms = np.array([*x, x[0] * x[1], x[0] * x[2], x[1] * x[2]])
        for name, row in zip(COLUMNS, weights, strict=True):
            measured = objective.panel.properties[name]
            errors.append((row @ terms + (measured.mean() - measured[recipe]) / measured.std()) ** 2)
    found = loss_of(objective, parameters, [4, 0, 1], [True, False, True])
    assert float(found) == pytest.approx(sum(errors) / 2, rel=1e-4)


def test_its_gradient_trains_the_property_model_alone() -> None:
    objective, parameters = objective_of()
    gradient = jax.jit(jax.grad(lambda p: loss_of(objective, p, [0, 1, 2], [True] * 3)))(parameters)
    assert bool(jnp.any(gradient["model"]["properties"]["weights"] != 0))


def test_recipes_are_the_units_and_have_no_customers_names() -> None:
    objective, _ = objective_of()
    assert objective.units == 6
    assert objective.names is None


def test_a_property_that_was_not_measured_is_refused() -> None:
    objective, parameters = objective_of()
    with pytest.raises(UserError) as caught:
        replace(objective, columns=("crunch", "arome")).constants(parameters)
    assert str(caught.value) == (
        "the recipes' table has no column 'arome' to fit that property to; did you mean `aroma`?"
    )
