"""Penalties: stated for the summed negative log-likelihood, and the same whatever the aggregate and the batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from numpy.typing import NDArray

from optim.autodiff import hvp
from optim.config import schema
from optim.config.schema import Aggregate
from optim.data.panel import Panel
from optim.losses.customers import CustomerGradients, customer_gradients
from optim.losses.likelihood import PanelObjective
from optim.losses.objective import Parameters, batch_loss, batch_penalty, unit_gradients
from optim.losses.penalties import build_penalty
from optim.models.flat import Flat
from optim.optimize.newton import newton

from .conftest import AGGREGATES, MOSTLY, log_likelihood, model_of, panel_of

RIDGE = schema.Ridge(kind="ridge", strength=3.0)
FIRTH = schema.Firth(kind="firth")
RAGGED = (9, 0, 14, 3, 8, 11)
Matrix = NDArray[np.float64]


def objective_of(
    panel: Panel,
    penalty: schema.Penalty | None,
    aggregate: Aggregate = "sum",
    group: Any = None,
    **utility: Any,
) -> tuple[PanelObjective, Parameters]:
    """The objective of a utility (linear unless told), and its initial parameters."""
    group = np.zeros(len(panel.customers), int) if group is None else np.asarray(group)
    block = {"kind": "linear"} | utility
    model, parameters = model_of(panel, panel.ingredients, int(group.max()) + 1, utility=block)
    built = build_penalty(penalty, panel, group, int(group.max()) + 1)
    return PanelObjective(panel, group, model, ("utility",), None, aggregate, penalty=built), parameters


def trained(parameters: Parameters) -> Parameters:
    return {"model": {"utility": parameters["model"]["utility"]}}


def noisy(parameters: Parameters, seed: int = 0) -> Parameters:
    random = np.random.default_rng(seed)
    draw = lambda leaf: jnp.asarray(random.normal(size=leaf.shape), leaf.dtype)
    return {"model": {**parameters["model"], "utility": jax.tree.map(draw, parameters["model"]["utility"])}}


def penalty_of(objective: PanelObjective, parameters: Parameters) -> float:
    """The penalty in the loss of everyone."""

    @jax.jit
    def penalty(parameters: Parameters) -> Array:
        constants = objective.constants(parameters)
        return batch_penalty(objective, trained(parameters), objective.everyone(constants), constants)

    return float(penalty(parameters))


def fitted(objective: PanelObjective, parameters: Parameters, steps: int = 25) -> dict[str, np.ndarray]:
    """The utility's parameters where the loss is least, by Newton's method."""
    constants = objective.constants(parameters)
    everyone, flat = objective.everyone(constants), Flat.of_one(trained(parameters))
    loss = lambda v: batch_loss(objective, flat.unravel(v), everyone, constants)
    optimizer = newton()

    @jax.jit
    def step(v: Array, state: Any) -> tuple[Array, Any]:
        value, gradient = jax.value_and_grad(loss)(v)
        change, state = optimizer.update(gradient, state, v, value=value, grad=gradient, value_fn=loss)
        return v + change, state

    vector = flat.ravel_one(trained(parameters))
    state = optimizer.init(vector)
    for _ in range(steps):
        vector, state = step(vector, state)
    utility = flat.unravel(vector)["model"]["utility"]
    return {name: np.asarray(leaf) for name, leaf in utility.items()}


def design_of(objective: PanelObjective, parameters: Parameters) -> tuple[Matrix, NDArray[np.bool_], Matrix]:
    """Scaled features of each response with a 1 after them, likes, and each customer's share of the loss."""
    panel, module = objective.panel, objective.model(parameters["model"])
    scaled = (panel.amounts - np.asarray(module.center[...])) / np.asarray(module.scale[...])
    features = np.concatenate([scaled, np.ones((len(scaled), 1))], axis=1)[panel.recipe]
    lengths = np.diff(panel.offsets)
    own = {
        "sum": np.ones(len(panel.like)),
        "mean_responses": np.full(len(panel.like), 1 / len(panel.like)),
        "mean_customers": np.repeat(1 / np.maximum(lengths, 1) / np.sum(lengths > 0), lengths),
    }
    return features, panel.like, own[objective.aggregate]


def minimum(loss: Any, width: int) -> Matrix:
    from scipy.optimize import minimize

    found: Matrix = minimize(loss, np.zeros(width), method="BFGS", options={"gtol": 1e-9}).x
    return found


def half_log_det(features: Matrix, weights: Matrix) -> float:
    """½ log det Σ p (1 − p) z zᵀ."""
    p = 1 / (1 + np.exp(-features @ weights))
    return 0.5 * float(np.linalg.slogdet(features.T @ (features * (p * (1 - p))[:, None]))[1])


# Ridge


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("aggregate", MOSTLY)
def test_a_ridge_is_that_of_its_formula_whatever_the_aggregate(aggregate: Aggregate) -> None:
    panel = panel_of(RAGGED)
    objective, parameters = objective_of(panel, RIDGE, aggregate)
    features, like, share = design_of(objective, parameters)
    scale = 1.0 if aggregate == "sum" else 1 / len(like)

    def loss(w: Matrix) -> float:
        return float(-share @ log_likelihood(features @ w, like) + scale * 1.5 * w[:3] @ w[:3])

    found = fitted(objective, parameters)
    np.testing.assert_allclose([*found["weights"][0], found["bias"][0]], minimum(loss, 4), atol=2e-6)


@pytest.mark.usefixtures("float64")
def test_a_ridge_is_that_of_statsmodels() -> None:
    from statsmodels.api import GLM, families

    panel = panel_of(RAGGED)
    objective, parameters = objective_of(panel, RIDGE, "mean_responses")
    features, like, _ = design_of(objective, parameters)
    found = fitted(objective, parameters)
    strength = np.array([3.0, 3.0, 3.0, 0.0]) / len(like)  # statsmodels divides the log-likelihood by n
    theirs = GLM(like.astype(float), features, family=families.Binomial()).fit_regularized(
        alpha=strength, L1_wt=0.0, cnvrg_tol=1e-14, maxiter=500
    )
    np.testing.assert_allclose([*found["weights"][0], found["bias"][0]], theirs.params, atol=1e-5)


@pytest.mark.usefixtures("float64")
def test_products_are_penalised_and_intercepts_are_not() -> None:
    objective, parameters = objective_of(panel_of(RAGGED), RIDGE, kind="quadratic", group=[0, 1, 0, 1, 0, 1])
    parameters = noisy(parameters)
    penalty = penalty_of(objective, parameters)
    utility = jax.tree.map(np.asarray, parameters["model"]["utility"])
    expected = 1.5 * float(np.sum(utility["weights"] ** 2) + np.sum(utility["products"] ** 2))
    assert penalty == pytest.approx(expected, rel=1e-12)


def test_of_a_network_every_kernel_is_penalised() -> None:
    objective, parameters = objective_of(panel_of(RAGGED), RIDGE, kind="mlp", hidden=[3, 2])
    parameters = noisy(parameters)
    penalty = penalty_of(objective, parameters)
    leaves = jax.tree_util.tree_leaves_with_path(parameters["model"]["utility"])
    kernels = [np.asarray(leaf, float) for path, leaf in leaves if "kernel" in jax.tree_util.keystr(path)]
    assert sorted(kernel.shape for kernel in kernels) == [(2, 1), (3, 2), (3, 3)]
    assert penalty == pytest.approx(1.5 * sum(np.sum(kernel**2) for kernel in kernels), rel=1e-6)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "lengths",
    [RAGGED, pytest.param((6, 6, 6, 6, 6, 6), marks=pytest.mark.long)],
    ids=["ragged", "alike"],
)
@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_the_batches_of_an_epoch_carry_the_penalty_once(aggregate: Aggregate, lengths: tuple[int, ...]) -> None:
    """A sum adds up to it over an epoch; a mean has it in every batch. The rest is what it is without a penalty."""
    panel = panel_of(lengths)
    objective, parameters = objective_of(panel, RIDGE, aggregate)
    parameters = noisy(parameters)
    plain, constants = replace(objective, penalty=None), objective.constants(parameters)
    whole = 1.5 * float(np.sum(parameters["model"]["utility"]["weights"] ** 2))
    batches = [([0, 4], [True, True]), ([2, 1], [True, True]), ([5, 3], [True, True]), ([0, 3], [False, False])]

    @jax.jit
    def share(index: Array, mask: Array) -> Array:
        batch = objective.batch(constants, index, mask)
        with_penalty, without = (batch_loss(one, trained(parameters), batch, constants) for one in (objective, plain))
        return with_penalty - without

    shares = [float(share(jnp.asarray(index, jnp.int32), jnp.asarray(mask))) for index, mask in batches]
    if aggregate == "sum":
        counts = [sum(lengths[i] for i in index) for index, _ in batches[:3]]
        np.testing.assert_allclose(shares, [*(whole * count / sum(lengths) for count in counts), 0.0], atol=1e-12)
        assert sum(shares) == pytest.approx(whole, rel=1e-12)
    else:
        np.testing.assert_allclose(shares, whole / sum(lengths), rtol=1e-11)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("aggregate", ["sum", pytest.param("mean_customers", marks=pytest.mark.long)])
def test_no_customer_has_a_share_in_the_penalty(aggregate: Aggregate) -> None:
    objective, parameters = objective_of(panel_of(RAGGED), RIDGE, aggregate)
    parameters = noisy(parameters)
    plain, constants = replace(objective, penalty=None), objective.constants(parameters)
    index, mask = jnp.arange(6, dtype=jnp.int32), jnp.ones(6, bool)

    def gradients_of(o: PanelObjective) -> tuple[Array, CustomerGradients]:
        rows, _, _ = unit_gradients(o, trained(parameters), o.batch(constants, index, mask), constants)
        return rows, customer_gradients(o, trained(parameters), constants, clip_norm=0.5)

    found, own = zip(*(jax.jit(lambda o=o: gradients_of(o))() for o in (objective, plain)), strict=True)
    np.testing.assert_array_equal(*found)
    assert float(own[0].loss) == float(own[1].loss)
    np.testing.assert_array_equal(own[0].norms, own[1].norms)


# Firth


def table_of(counts: Any) -> Panel:
    """One recipe a row, with so many dislikes and likes, all of one customer."""
    counts = np.asarray(counts)
    recipe = np.repeat(np.arange(len(counts)), counts.sum(axis=1))
    like = np.concatenate([np.repeat([False, True], row) for row in counts])
    return Panel(
        customers=("a",),
        recipes=tuple(map(str, range(len(counts)))),
        ingredients=("gin",),
        amounts=np.arange(len(counts), dtype=float)[:, None],
        offsets=np.array([0, len(like)], np.int32),
        recipe=recipe.astype(np.int32),
        like=like,
        held_out=np.zeros(len(like), bool),
    )


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "table",
    [
        pytest.param([[3, 7], [6, 2]], marks=pytest.mark.long),
        [[0, 5], [4, 0]],
        pytest.param([[0, 5], [4, 3]], marks=pytest.mark.long),
    ],
)
def test_firth_of_a_table_adds_a_half_to_every_cell(table: list[list[int]]) -> None:
    """Firth 1993, section 3.3: also where a cell is empty, and the plain estimate infinite."""
    objective, parameters = objective_of(table_of(table), FIRTH, "mean_responses")
    found, module = fitted(objective, parameters), objective.model(parameters["model"])
    (d0, l0), (d1, l1) = np.asarray(table) + 0.5
    slope = float(found["weights"][0, 0]) / float(module.scale[...][0])
    constant = float(found["bias"][0]) - slope * float(module.center[...][0])
    assert slope == pytest.approx(np.log(d0 * l1 / (l0 * d1)), rel=1e-8)
    assert constant == pytest.approx(np.log(l0 / d0), rel=1e-8)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("likes", "responses"),
    [(0, 6), pytest.param(2, 9, marks=pytest.mark.long), pytest.param(5, 5, marks=pytest.mark.long)],
)
def test_firth_of_a_single_recipe_is_the_share_with_a_half_added(likes: int, responses: int) -> None:
    """A weight and a constant, of which one recipe determines the sum alone: (likes + ½) / (responses + 1)."""
    panel = table_of([[responses - likes, likes], [0, 0]])
    objective, parameters = objective_of(panel, FIRTH, "mean_responses")
    found, module = fitted(objective, parameters), objective.model(parameters["model"])
    scaled = -float(module.center[...][0]) / float(module.scale[...][0])
    utility = float(found["weights"][0, 0]) * scaled + float(found["bias"][0])
    assert 1 / (1 + np.exp(-utility)) == pytest.approx((likes + 0.5) / (responses + 1), rel=1e-10)
    assert float(found["bias"][0]) * scaled == pytest.approx(float(found["weights"][0, 0]), abs=1e-12)


@pytest.mark.long
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("aggregate", MOSTLY)
def test_firth_is_that_of_its_formula_whatever_the_aggregate(aggregate: Aggregate) -> None:
    objective, parameters = objective_of(panel_of(RAGGED), FIRTH, aggregate)
    features, like, share = design_of(objective, parameters)
    scale = 1.0 if aggregate == "sum" else 1 / len(like)
    loss = lambda w: float(-share @ log_likelihood(features @ w, like) - scale * half_log_det(features, w))
    found = fitted(objective, parameters)
    np.testing.assert_allclose([*found["weights"][0], found["bias"][0]], minimum(loss, 4), atol=2e-6)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", [pytest.param("linear", marks=pytest.mark.long), "quadratic"])
def test_each_group_has_its_own_information(kind: str) -> None:
    """What groups have together is the sum; a group without a response of the fit adds nothing."""
    panel, group = panel_of((30, 40, 20, 5), recipes=20, ingredients=2), [0, 1, 0, 2]
    held_out = np.repeat([False, False, False, True], np.diff(panel.offsets))
    objective, parameters = objective_of(replace(panel, held_out=held_out), FIRTH, group=group, kind=kind)
    parameters = noisy(parameters)
    features, _, _ = design_of(objective, parameters)
    utility, owner = parameters["model"]["utility"], np.repeat(group, np.diff(panel.offsets))
    x, y = features[:, 0], features[:, 1]
    expected = 0.0
    for one in (0, 1):
        columns = [x, y, *([x * x, x * y, y * y] if kind == "quadratic" else []), np.ones_like(x)]
        weights = [*utility["weights"][one], *(utility["products"][one] if kind == "quadratic" else [])]
        own = np.stack(columns, axis=1)[owner == one]
        expected -= half_log_det(own, np.array([*weights, utility["bias"][one]]))
    assert penalty_of(objective, parameters) == pytest.approx(expected, rel=1e-10)


@pytest.mark.long
def test_a_design_without_full_rank_counts_in_the_space_that_it_spans() -> None:
    """In single precision: shares with a constant give the same likes as shares alone."""
    panel = panel_of((60, 50), recipes=12)
    shares = np.random.default_rng(2).dirichlet(np.ones(3), size=12)
    panel = replace(panel, amounts=shares)
    found = []
    for intercept in (True, False):
        objective, parameters = objective_of(panel, FIRTH, "mean_responses", intercept=intercept)
        utility = fitted(objective, parameters)
        module = objective.model(parameters["model"])
        features = (shares - np.asarray(module.center[...])) / np.asarray(module.scale[...])
        found.append(features @ utility["weights"][0] + utility.get("bias", 0.0))
    np.testing.assert_allclose(found[0], found[1], atol=2e-5)


@pytest.mark.long  # the table above whose likes are separated has the figures by Firth's formula
@pytest.mark.usefixtures("float64")
def test_firth_of_separated_likes_is_finite() -> None:
    """The figures by SciPy, from the formula."""
    panel = table_of([[10, 0]] * 5 + [[0, 10]] * 4)
    objective, parameters = objective_of(panel, FIRTH, "mean_responses")
    features, like, _ = design_of(objective, parameters)
    loss = lambda w: float(-np.sum(log_likelihood(features @ w, like)) - half_log_det(features, w)) / 90
    found = fitted(objective, parameters)
    np.testing.assert_allclose([found["weights"][0, 0], found["bias"][0]], minimum(loss, 2), rtol=1e-4)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("penalty", [RIDGE, FIRTH], ids=["ridge", "firth"])
@pytest.mark.parametrize("kind", [pytest.param("linear", marks=pytest.mark.long), "quadratic"])
def test_the_derivative_is_that_of_finite_differences(penalty: schema.Penalty, kind: str) -> None:
    """And that of the gradient, which Newton's method needs."""
    objective, parameters = objective_of(panel_of(RAGGED), penalty, kind=kind, group=[0, 1, 0, 1, 1, 0])
    parameters = noisy(parameters)
    constants, flat = objective.constants(parameters), Flat.of_one(trained(parameters))
    everyone, point = objective.everyone(constants), flat.ravel_one(trained(parameters))
    function = lambda v: batch_penalty(objective, flat.unravel(v), everyone, constants)
    direction = np.random.default_rng(3).normal(size=point.shape)

    @jax.jit
    def along(t: Array) -> tuple[Array, Array, Array]:
        """Penalty, slope along the direction, and Hessian times direction."""
        at = point + t * direction
        return function(at), jax.grad(function)(at) @ direction, hvp(function, at, direction)

    ends, gradient = [along(jnp.asarray(t)) for t in (-1e-5, 1e-5)], jax.jit(jax.grad(function))
    slopes = [np.asarray(gradient(point + t * direction)) for t in (-1e-5, 1e-5)]
    _, slope, product = along(jnp.asarray(0.0))
    assert (float(ends[1][0]) - float(ends[0][0])) / 2e-5 == pytest.approx(float(slope), rel=1e-7)
    np.testing.assert_allclose((slopes[1] - slopes[0]) / 2e-5, product, rtol=1e-6, atol=1e-8)


def test_far_out_a_penalty_and_its_slope_are_still_numbers() -> None:
    """In single precision: p (1 − p) is e^−90 there."""
    objective, parameters = objective_of(panel_of(RAGGED), FIRTH)
    utility = jax.tree.map(lambda leaf: jnp.full_like(leaf, 30.0), parameters["model"]["utility"])
    constants = objective.constants(parameters)
    penalty = lambda utility: objective.penalty(utility, constants.penalty)  # type: ignore[misc]
    value, slope = jax.jit(jax.value_and_grad(penalty))(utility)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))
