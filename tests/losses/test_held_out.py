"""Customers all of whose responses are held out: loss and gradient are those of a panel that never had them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from optim.config.schema import Aggregate
from optim.data.panel import Panel
from optim.losses import customers, likelihood
from optim.losses.customers import customer_gradients
from optim.losses.likelihood import PanelObjective
from optim.losses.objective import Parameters, batch_loss
from optim.train.measure import losses_by_unit

from .conftest import AGGREGATES, model_of, panel_of

LENGTHS = (3, 4, 0, 2, 4, 1)
WEIGHTS, BIAS = np.array([[0.5, -1.0, 0.8], [-0.3, 0.4, 1.1]]), np.array([-0.2, 0.6])
GROUP = np.array([0, 1, 1, 0, 1, 0])

Doubles = NDArray[np.float64]

pytestmark = pytest.mark.usefixtures("float64")


def by_customer() -> Panel:
    """The second and the last customer are held out; the third gave no response."""
    panel = panel_of(LENGTHS)
    return replace(panel, held_out=np.isin(panel.customer_of_response(), [1, 5]))


def by_recipe() -> Panel:
    """Three of six recipes are held out; the second and the last customer tasted no other."""
    panel = panel_of(LENGTHS)
    recipe = np.array([0, 3, 1, 4, 5, 4, 3, 2, 0, 4, 1, 2, 5, 3], np.int32)
    return replace(panel, recipe=recipe, held_out=recipe >= 3)


PANELS = pytest.mark.parametrize(
    "panel", [by_customer(), pytest.param(by_recipe(), marks=pytest.mark.long)], ids=["by customer", "by recipe"]
)


def without(panel: Panel, gone: NDArray[np.bool_]) -> Panel:
    """The panel in which some responses were never given, and none is held out."""
    customer = panel.customer_of_response()[~gone]
    counts = np.bincount(customer, minlength=panel.number_of_customers)
    return replace(
        panel,
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        recipe=panel.recipe[~gone],
        like=panel.like[~gone],
        held_out=np.zeros(len(customer), bool),
    )


def objective_of(
    panel: Panel, aggregate: Aggregate, *, grouped: bool = True, **more: Any
) -> tuple[PanelObjective, Parameters]:
    """A linear utility of fixed weights, by group where asked; the objective and the trained parameters."""
    groups = 2 if grouped else 1
    model, parameters = model_of(panel, panel.ingredients, groups, utility={"kind": "linear"})
    utility = {"weights": jnp.asarray(WEIGHTS[:groups]), "bias": jnp.asarray(BIAS[:groups])}
    group = GROUP if grouped else np.zeros(len(GROUP), int)
    objective = PanelObjective(panel, group, model, ("utility",), more.pop("loss", None), aggregate, **more)
    return objective, {"model": {**parameters["model"], "utility": utility}}


def of_batches(
    objective: PanelObjective, parameters: Parameters, batches: Sequence[Sequence[int]]
) -> list[tuple[float, Doubles]]:
    """Loss and gradient of batches of one size; the gradient by bias and then weights."""

    @jax.jit
    def both(parameters: Parameters, index: Any) -> Any:
        constants = objective.constants(parameters)
        batch = objective.batch(constants, index, jnp.ones(len(index), bool))
        return _both(objective, parameters, batch, constants)

    found = [both(parameters, jnp.asarray(index, jnp.int32)) for index in batches]
    return [(float(loss), vector(gradient)) for loss, gradient in found]


def of_everyone(objective: PanelObjective, parameters: Parameters) -> tuple[float, Doubles]:
    """The same of everyone, whose responses then lie along a single axis."""

    @jax.jit
    def both(parameters: Parameters) -> Any:
        constants = objective.constants(parameters)
        return _both(objective, parameters, objective.everyone(constants), constants)

    loss, gradient = both(parameters)
    return float(loss), vector(gradient)


def _both(objective: PanelObjective, parameters: Parameters, batch: Any, constants: Any) -> Any:
    trained = {"model": {"utility": parameters["model"]["utility"]}}
    return jax.value_and_grad(lambda trained: batch_loss(objective, trained, batch, constants))(trained)


def vector(gradient: Parameters) -> Doubles:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradient)])


def by_hand(
    objective: PanelObjective, parameters: Parameters, index: Sequence[int], clip_norm: float = np.inf
) -> tuple[float, Doubles]:
    """Loss and gradient of the logit model by the formula, customer by customer, in plain loops."""
    panel, module = objective.panel, objective.model(parameters["model"])
    features = (panel.amounts - np.asarray(module.center[...])) / np.asarray(module.scale[...])
    total, gradient, responses, responding = 0.0, np.zeros((objective.group.max() + 1, 4)), 0, 0
    for customer in index:
        rows = np.arange(panel.offsets[customer], panel.offsets[customer + 1])
        rows = rows[panel.held_out[rows] == objective.held_out]
        if not len(rows):
            continue
        group, seen = objective.group[customer], features[panel.recipe[rows]]
        utility, like = seen @ WEIGHTS[group] + BIAS[group], panel.like[rows]
        share = 1 / len(rows) if objective.aggregate == "mean_customers" else 1.0
        own = share * (1 / (1 + np.exp(-utility)) - like) @ np.column_stack([np.ones(len(rows)), seen])
        gradient[group] += own * min(1.0, clip_norm / np.linalg.norm(own))
        total += share * float(np.sum(np.logaddexp(0, np.where(like, -utility, utility))))
        responses, responding = responses + len(rows), responding + 1
    divisor = max({"sum": 1, "mean_responses": responses, "mean_customers": responding}[objective.aggregate], 1)
    return total / divisor, np.concatenate([gradient[:, 0], gradient[:, 1:].ravel()]) / divisor


def assert_same(found: tuple[float, Doubles], expected: tuple[float, Doubles]) -> None:
    assert found[0] == pytest.approx(expected[0], rel=1e-13)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("held_out", [False, pytest.param(True, marks=pytest.mark.long)], ids=["fit", "held out"])
@pytest.mark.parametrize("aggregate", AGGREGATES)
@PANELS
def test_everyone_is_the_panel_that_never_had_the_others_responses(
    panel: Panel, aggregate: Aggregate, held_out: bool
) -> None:
    objective, parameters = objective_of(panel, aggregate, held_out=held_out)
    absent = replace(objective, panel=without(panel, panel.held_out != held_out), held_out=False)
    expected = by_hand(objective, parameters, range(objective.units))
    assert_same(of_everyone(objective, parameters), expected)
    assert_same(of_everyone(absent, parameters), expected)


@pytest.mark.parametrize(
    "laid_out", [True, pytest.param(False, marks=pytest.mark.long)], ids=["rows laid out", "rows looked up"]
)
@pytest.mark.parametrize("grouped", [pytest.param(False, marks=pytest.mark.long), True], ids=["pooled", "by group"])
@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_a_batch_counts_only_those_who_have_responses_in_the_fit(
    aggregate: Aggregate, grouped: bool, laid_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Customers 1 and 5 have none: beside others, and in a batch of nobody else, whose loss and gradient are 0."""
    if not laid_out:
        monkeypatch.setattr(likelihood, "LAID_OUT", 0)
    panel = by_recipe()
    objective, parameters = objective_of(panel, aggregate, grouped=grouped)
    absent = replace(objective, panel=without(panel, panel.held_out))
    batches = [[1, 0, 4], [3, 5, 2], [5, 1, 2]]
    for one in (objective, absent):
        found = of_batches(one, parameters, batches)
        for each, index in zip(found, batches, strict=True):
            assert_same(each, by_hand(objective, parameters, index))
        assert found[-1][0] == 0.0
        assert not found[-1][1].any()


@pytest.mark.long
@pytest.mark.parametrize("held_out", [False, True], ids=["fit", "held out"])
@PANELS
def test_a_loss_of_every_customer_in_blocks_is_that_of_their_own_responses(panel: Panel, held_out: bool) -> None:
    """As the held-out loss is taken."""
    objective, parameters = objective_of(panel, "sum", held_out=held_out)
    trained = {"model": {"utility": parameters["model"]["utility"]}}
    take = jax.jit(lambda constants: losses_by_unit(objective, trained, constants))
    sums, counts = take(objective.constants(parameters))
    rows = panel.customer_of_response()[panel.held_out == held_out]
    np.testing.assert_array_equal(counts, np.bincount(rows, minlength=objective.units))
    expected = [by_hand(objective, parameters, [customer])[0] for customer in range(objective.units)]
    np.testing.assert_allclose(sums, expected, rtol=1e-13)


@pytest.mark.parametrize("aggregate", AGGREGATES)
@PANELS
def test_clipping_by_customer_neither_sees_nor_counts_them(
    panel: Panel, aggregate: Aggregate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In blocks of two of three customers: the last one overlaps. In the last batch nobody counts."""
    monkeypatch.setattr(customers, "RESPONSES", 8)
    objective, parameters = objective_of(panel, aggregate)
    trained = {"model": {"utility": parameters["model"]["utility"]}}
    run = jax.jit(
        lambda constants, index: customer_gradients(objective, trained, constants, clip_norm=0.4, index=index)
    )
    constants = objective.constants(parameters)
    for index in ([1, 0, 4], [3, 5, 2], [5, 1, 2]):
        result = run(constants, jnp.asarray(index, jnp.int32))
        assert float(result.loss) == pytest.approx(by_hand(objective, parameters, index)[0], rel=1e-13)
        _, slope = by_hand(objective, parameters, index, clip_norm=0.4)
        np.testing.assert_allclose(vector(result.mean), slope, rtol=1e-12, atol=1e-15)
        np.testing.assert_array_equal(np.asarray(result.norms) > 0, np.isin(index, [0, 3, 4]))


def test_a_loss_that_is_infinite_at_a_held_out_response_does_not_spoil_the_gradient() -> None:
    """√u has no slope at 0, where the utility of the recipe that is held out lies."""
    panel = by_customer()
    gone = panel.held_out
    panel = replace(panel, recipe=np.where(gone, 5, panel.recipe % 5).astype(np.int32))
    objective, parameters = objective_of(panel, "sum", grouped=False)
    module = objective.model(parameters["model"])
    own = lambda utility, like: jnp.sqrt(jnp.abs(utility - singular))
    singular = module.utility(module.features(jnp.asarray(panel.amounts[5])), jnp.int32(0))
    objective = replace(objective, response_loss=own)
    loss, gradient = of_everyone(objective, parameters)
    assert np.isfinite(gradient).all()
    assert_same(of_batches(objective, parameters, [range(objective.units)])[0], (loss, gradient))
