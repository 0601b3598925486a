"""The likelihood of a panel: the printed figures, and plain NumPy over ragged, masked and grouped responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from optim.config.errors import UserError
from optim.config.schema import Aggregate
from optim.data.panel import Panel
from optim.losses import likelihood
from optim.losses.customers import customer_gradients
from optim.losses.likelihood import PanelObjective
from optim.losses.objective import Parameters, batch_loss, unit_gradients
from optim.models.functional import Functional
from optim.models.imports import load_object
from optim.models.likelihood import LikelihoodModel

from .conftest import AGGREGATES, MOSTLY, log_likelihood, model_of, panel_of, swept

RAGGED, EVEN = (3, 0, 5, 1, 2), (4, 4, 4)


def objective_of(panel: Panel, aggregate: Aggregate = "sum", **more: Any) -> tuple[PanelObjective, Parameters]:
    """The objective of a linear utility with fixed weights that are not zero."""
    groups = int(more.pop("groups", 1))
    group = np.asarray(more.pop("group", np.zeros(len(panel.customers), int)))
    model, parameters = model_of(panel, panel.ingredients, groups, utility={"kind": "linear"})
    width = len(panel.ingredients)
    utility = {
        "weights": 0.5 + jnp.arange(groups * width, dtype=float).reshape(groups, width) / 3,
        "bias": -0.2 * jnp.arange(1.0, 1.0 + groups),
    }
    parameters = {"model": {**parameters["model"], "utility": utility}}
    return PanelObjective(panel, group, model, ("utility",), None, aggregate, **more), parameters


def trained_part(parameters: Parameters) -> Parameters:
    return {"model": {"utility": parameters["model"]["utility"]}}


def loss_of(
    objective: PanelObjective,
    parameters: Parameters,
    index: Sequence[int] | None = None,
    mask: Sequence[bool] | None = None,
) -> Array:
    every = range(objective.units) if index is None else index
    masked = jnp.ones(len(every), bool) if mask is None else jnp.asarray(mask)

    @jax.jit
    def loss(parameters: Parameters) -> Array:
        constants = objective.constants(parameters)
        batch = objective.batch(constants, jnp.asarray(every, jnp.int32), masked)
        return batch_loss(objective, trained_part(parameters), batch, constants)

    return loss(parameters)


def by_hand(
    objective: PanelObjective, parameters: Parameters, held_out: bool | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Each customer's sum and count in double precision, in plain loops."""
    panel, module = objective.panel, objective.model(parameters["model"])
    features = (panel.amounts - np.asarray(module.center[...])) / np.asarray(module.scale[...])
    weights = np.asarray(parameters["model"]["utility"]["weights"], float)
    bias = np.asarray(parameters["model"]["utility"]["bias"], float)
    sums, counts = np.zeros(len(panel.customers)), np.zeros(len(panel.customers))
    for customer in range(len(panel.customers)):
        for row in range(panel.offsets[customer], panel.offsets[customer + 1]):
            if held_out is None or panel.held_out[row] == held_out:
                group = objective.group[customer]
                utility = weights[group] @ features[panel.recipe[row]] + bias[group]
                sums[customer] -= log_likelihood(utility, panel.like[row])
                counts[customer] += 1
    return sums, counts


def aggregated(sums: np.ndarray, counts: np.ndarray, aggregate: Aggregate) -> float:
    if aggregate == "sum":
        return float(sums.sum())
    if aggregate == "mean_responses":
        return float(sums.sum() / counts.sum())
    return float(np.mean((sums / np.maximum(counts, 1))[counts > 0]))


# The printed figures

FEATURES = np.array([[0.8, 0.9, -0.5], [0.7, 0.8, -0.4], [0.3, 0.4, -0.8], [0.9, 0.7, -0.3]])
LIKES = np.array([True, True, False, True])


def seed_model(scale: float = 1.0) -> tuple[PanelObjective, Parameters]:
    """Four customers with one cake each, whose amounts are the features; parameters drawn as the source drew them."""
    panel = Panel(
        customers=("a", "b", "c", "d"),
        recipes=("1", "2", "3", "4"),
        ingredients=("sweetness", "fluffiness", "cost_factor"),
        amounts=FEATURES,
        offsets=np.arange(5, dtype=np.int32),
        recipe=np.arange(4, dtype=np.int32),
        like=LIKES,
        held_out=np.zeros(4, bool),
    )
    model, parameters = model_of(panel, panel.ingredients, utility={"kind": "linear"})
    template: LikelihoodModel = model(parameters["model"])
    template.center[...], template.scale[...] = jnp.zeros(3), jnp.ones(3)
    _, key_w, key_b = jax.random.split(jax.random.key(42), 3)
    utility = {
        "weights": scale * jax.random.normal(key_w, (3,))[None],
        "bias": scale * jax.random.normal(key_b, ())[None],
    }
    model, _ = Functional.split(template)
    objective = PanelObjective(panel, np.zeros(4, int), model, ("utility",), None, "sum")
    return objective, {"model": {"utility": utility}}


def test_the_printed_loss_and_gradients() -> None:
    objective, parameters = seed_model()
    loss, gradient = jax.value_and_grad(lambda p: loss_of(objective, p))(parameters)
    assert float(loss) == pytest.approx(2.247727394104004, rel=1e-6)
    found = gradient["model"]["utility"]
    np.testing.assert_allclose(found["weights"][0], [-0.05690404, 0.03078762, -0.52113414], rtol=2e-5, atol=2e-7)
    np.testing.assert_allclose(found["bias"][0], 0.45482203364372253, rtol=2e-6)


def test_the_means_of_the_printed_loss() -> None:
    objective, parameters = seed_model()
    for aggregate in ("mean_responses", "mean_customers"):
        loss = loss_of(replace(objective, aggregate=aggregate), parameters)
        assert float(loss) == pytest.approx(2.247727394104004 / 4, rel=1e-6)


@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_extreme_logits_stay_finite_and_right(logit: float) -> None:
    objective, _ = seed_model()
    parameters = {"model": {"utility": {"weights": jnp.zeros((1, 3)), "bias": jnp.full(1, logit)}}}
    loss, gradient = jax.value_and_grad(lambda p: loss_of(objective, p))(parameters)
    wrong = LIKES if logit < 0 else ~LIKES
    assert float(loss) == 1e4 * wrong.sum()
    slopes = np.where(wrong, np.sign(logit), 0.0)
    np.testing.assert_allclose(gradient["model"]["utility"]["bias"][0], slopes.sum(), rtol=1e-6)
    np.testing.assert_allclose(gradient["model"]["utility"]["weights"][0], slopes @ FEATURES, rtol=1e-6)


# Ragged panels


@pytest.mark.parametrize(
    ("aggregate", "lengths", "laid_out"),
    swept(
        AGGREGATES,
        (RAGGED, EVEN),
        (True, False),
        by_default=[
            *((aggregate, RAGGED, True) for aggregate in AGGREGATES),
            ("sum", EVEN, True),
            ("mean_responses", EVEN, False),
            ("mean_customers", RAGGED, False),
        ],
    ),
)
def test_it_is_the_plain_computation(
    aggregate: Aggregate, lengths: tuple[int, ...], laid_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not laid_out:
        monkeypatch.setattr(likelihood, "LAID_OUT", 0)
    objective, parameters = objective_of(panel_of(lengths), aggregate)
    expected = aggregated(*by_hand(objective, parameters), aggregate)
    assert float(loss_of(objective, parameters)) == pytest.approx(expected, rel=2e-6)


@pytest.mark.usefixtures("float64")
def test_it_is_the_plain_computation_to_double_precision() -> None:
    objective, parameters = objective_of(panel_of(RAGGED), "mean_customers")
    expected = aggregated(*by_hand(objective, parameters), "mean_customers")
    assert float(loss_of(objective, parameters)) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(
    ("aggregate", "held_out", "laid_out"),
    swept(
        AGGREGATES,
        (False, True),
        (True, False),
        by_default=[
            ("sum", False, True),
            ("mean_responses", True, True),
            ("mean_customers", False, True),
            ("mean_customers", True, False),
        ],
    ),
)
def test_responses_held_out_are_kept_from_the_fit_and_the_others_from_the_evaluation(
    aggregate: Aggregate, held_out: bool, laid_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not laid_out:
        monkeypatch.setattr(likelihood, "LAID_OUT", 0)
    panel = panel_of((4, 3, 1, 2, 6), held_out=0.4, seed=3)
    objective, parameters = objective_of(panel, aggregate, held_out=held_out)
    sums, counts = by_hand(objective, parameters, held_out)
    assert 0 < counts.sum() < panel.number_of_responses
    assert float(loss_of(objective, parameters)) == pytest.approx(aggregated(sums, counts, aggregate), rel=2e-6)


def test_each_group_has_its_own_weights() -> None:
    objective, parameters = objective_of(panel_of(RAGGED), groups=3, group=[2, 0, 1, 1, 0])
    expected = by_hand(objective, parameters)[0].sum()
    assert float(loss_of(objective, parameters)) == pytest.approx(expected, rel=2e-6)


def test_a_masked_customer_counts_nothing() -> None:
    index, mask = [2, 0, 3, 0], [True, False, True, False]
    for aggregate in AGGREGATES:
        objective, parameters = objective_of(panel_of(RAGGED), aggregate)
        sums, counts = by_hand(objective, parameters)
        expected = aggregated(sums[[2, 3]], counts[[2, 3]], aggregate)
        assert float(loss_of(objective, parameters, index, mask)) == pytest.approx(expected, rel=2e-6)
    gradient = jax.grad(lambda p: loss_of(objective, p, [0], [False]))(parameters)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_customers_without_a_response_have_no_loss_and_no_gradient() -> None:
    for aggregate in AGGREGATES:
        objective, parameters = objective_of(panel_of(RAGGED), aggregate)
        loss, gradient = jax.value_and_grad(lambda p, o=objective: loss_of(o, p, [1]))(parameters)
        assert loss == 0.0
        assert all(not np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_batches_add_up_in_any_order() -> None:
    objective, parameters = objective_of(panel_of((2, 1, 3, 5, 1, 4)))
    whole = float(loss_of(objective, parameters))
    for batches in ([[0, 1, 2], [3, 4, 5]], [[5, 0, 3], [4, 2, 1]]):
        parts = sum(float(loss_of(objective, parameters, batch)) for batch in batches)
        assert parts == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("aggregate", MOSTLY)
def test_the_customers_own_gradients_add_up_to_the_whole(aggregate: Aggregate) -> None:
    objective, parameters = objective_of(panel_of(RAGGED), aggregate)

    @jax.jit
    def both(trained: Parameters) -> tuple[Any, ...]:
        constants = objective.constants(parameters)
        index, mask = jnp.arange(5, dtype=jnp.int32), jnp.array([True, True, True, True, False])
        batch = objective.batch(constants, index, mask)
        whole = jax.value_and_grad(lambda t: batch_loss(objective, t, batch, constants))(trained)
        found = customer_gradients(objective, trained, constants, index=index, mask=mask)
        gradients, _, _ = unit_gradients(objective, trained, batch, constants)
        return whole, (found.loss, found.mean), gradients

    (loss, gradient), (same_loss, same_gradient), rows = both(trained_part(parameters))
    assert float(loss) == pytest.approx(float(same_loss), rel=1e-6)
    for one, other in zip(jax.tree.leaves(gradient), jax.tree.leaves(same_gradient), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    assert rows.shape == (5, sum(leaf.size for leaf in jax.tree.leaves(trained_part(parameters))))
    assert not rows[1].any()  # no response
    assert not rows[4].any()  # masked


def test_the_property_model_can_be_trained_through_the_responses() -> None:
    """The features are then computed inside the loss; the value is the same, and the gradient reaches the weights."""
    panel = panel_of(RAGGED)
    block = {
        "properties": {"kind": "scheffe", "columns": ["crunch", "aroma"]},
        "utility": {"kind": "linear", "features": ["properties"]},
    }
    model, parameters = model_of(panel, panel.ingredients, **block)
    parameters["model"]["utility"]["weights"] = jnp.array([[1.0, -2.0]])
    parameters["model"]["properties"]["weights"] = jnp.arange(6.0).reshape(2, 3) / 10
    group = np.zeros(5, int)
    through = PanelObjective(panel, group, model, ("properties", "utility"), None, "sum")
    frozen = PanelObjective(panel, group, model, ("utility",), None, "sum")

    def loss(objective: PanelObjective, trained: dict[str, Any]) -> Array:
        constants = objective.constants(parameters)
        batch = objective.batch(constants, jnp.arange(5, dtype=jnp.int32), jnp.ones(5, bool))
        return batch_loss(objective, {"model": trained}, batch, constants)

    value, gradient = jax.jit(jax.value_and_grad(lambda t: loss(through, t)))(parameters["model"])
    held = jax.jit(lambda t: loss(frozen, t))({"utility": parameters["model"]["utility"]})
    assert float(value) == pytest.approx(float(held), rel=1e-5)
    assert bool(jnp.any(gradient["properties"]["weights"] != 0))


# A loss of the user's own


def test_an_own_loss_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "losses.py"
    file.write_text("def hinge(utility, like):\n    return abs(utility - (2 * like - 1))\n")
    objective, parameters = objective_of(panel_of(RAGGED))
    own = replace(objective, response_loss=load_object(f"{file}:hinge"))
    panel, module = objective.panel, objective.model(parameters["model"])
    features = (panel.amounts - np.asarray(module.center[...])) / np.asarray(module.scale[...])
    utility = features @ np.asarray(parameters["model"]["utility"]["weights"][0], float) - 0.2
    expected = np.abs(utility[panel.recipe] - (2.0 * panel.like - 1.0)).sum()
    assert float(loss_of(own, parameters)) == pytest.approx(expected, rel=1e-5)


def test_an_own_loss_that_is_no_scalar_is_refused() -> None:
    """Left alone, it would broadcast against the mask and give a wrong loss in silence."""
    objective, parameters = objective_of(panel_of((3, 3)))
    own: Any = lambda utility, like: jnp.stack([utility, like, like])
    with pytest.raises(UserError) as caught:
        loss_of(replace(objective, response_loss=own), parameters)
    assert str(caught.value) == "the loss gives an array of shape (3,) for one response: expected a scalar"
