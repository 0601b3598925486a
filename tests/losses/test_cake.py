"""Scores of a cake and the loss that bakes it, for one customer and for an audience."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from pydantic import TypeAdapter

from optim.config import schema
from optim.config.errors import UserError
from optim.config.loading import load
from optim.config.schema import Aggregate
from optim.data.panel import Panel
from optim.losses.audience import Audience, everyone, merged
from optim.losses.cake import CakeObjective, climb_of, log_odds_of_mean
from optim.losses.objective import Parameters, batch_loss, unit_gradients
from optim.losses.scores import BuiltScore, Customer, Recipe, build_score
from optim.models.cake import Cake
from optim.models.flat import Flat
from optim.models.functional import Functional
from optim.models.links import Logit
from tests.helpers import in_memory

from .conftest import INGREDIENTS, START, model_of, panel_of, space_of, swept

PROPERTIES = (8.862908, 5.2, 3.714068)
SCORE_GRADIENT = (-0.1525816, -0.91666603, -0.66476905, 8.810353)
BAKERY = {"properties": {"kind": "bakery"}}


def objective_of(
    score: dict[str, Any], audience: Audience | None = None, panel: Panel | None = None, **more: Any
) -> tuple[CakeObjective, Parameters]:
    prices, groups = more.pop("prices", (0.0,) * 4), more.pop("groups", 1)
    model, parameters = model_of(panel, INGREDIENTS, groups, **(more or BAKERY))
    block: Any = TypeAdapter(schema.Score).validate_python(score)
    cake, _ = Functional.split(Cake(jnp.zeros(4)))
    someone = everyone(None, np.zeros(0, int), ())
    objective = CakeObjective(space_of(prices), model, cake, build_score(block), audience or someone)
    return objective, parameters


def value_and_gradient(
    objective: CakeObjective, parameters: Parameters, amounts: Any = START
) -> tuple[float, np.ndarray]:
    """Score of a recipe, with its gradient."""
    constants = objective.constants(parameters)
    score, gradient = jax.jit(jax.value_and_grad(objective.mean_score))({"amounts": jnp.asarray(amounts)}, constants)
    return float(score), np.asarray(gradient["amounts"])


# Deliciousness


def test_deliciousness_of_the_starting_recipe() -> None:
    sweetness, fluffiness, cost = PROPERTIES
    score, gradient = value_and_gradient(*objective_of({"kind": "deliciousness"}))
    assert score == pytest.approx(-((sweetness - 10) ** 2) - (fluffiness - 5) ** 2 - 0.5 * cost, rel=1e-6)
    np.testing.assert_allclose(gradient, SCORE_GRADIENT, rtol=2e-6)


def test_the_loss_is_minus_the_score() -> None:
    objective, parameters = objective_of({"kind": "deliciousness"})
    constants = objective.constants(parameters)
    batch = objective.batch(constants, jnp.zeros(1, jnp.int32), jnp.ones(1, bool))
    loss = jax.jit(partial(batch_loss, objective))({"cake": {"amounts": jnp.asarray(START)}}, batch, constants)
    assert float(loss) == pytest.approx(-value_and_gradient(objective, parameters)[0], rel=1e-6)


def test_a_target_by_formula() -> None:
    """The printed figures of the loss (fluffiness − target)²; the score is its negative."""
    formula = "2 + 0.5*butter + eggs - 0.1*flour"
    objective, parameters = objective_of(
        {"kind": "deliciousness", "targets": {"fluffiness": formula}, "cost_weight": 0}
    )
    score, gradient = value_and_gradient(objective, parameters)
    assert score == pytest.approx(-((5.2 - 5.3) ** 2), rel=1e-4)
    np.testing.assert_allclose(-gradient, [0.06000023, -0.13333383, -0.02000008, 0], rtol=2e-4, atol=1e-7)


def test_a_held_target_does_not_pull_on_the_recipe_in_training_alone() -> None:
    """The printed figures of the loss with its target held fixed; the plain score has the full gradient."""
    target = {"formula": "2 + 0.5*butter + eggs - 0.1*flour", "hold": True}
    objective, parameters = objective_of({"kind": "deliciousness", "targets": {"fluffiness": target}, "cost_weight": 0})
    constants = objective.constants(parameters)
    cake = {"cake": {"amounts": jnp.asarray(START)}}
    loss_of = lambda cake: batch_loss(objective, cake, constants.audience, constants)
    loss, gradient = jax.jit(jax.value_and_grad(loss_of))(cake)
    assert loss == pytest.approx((5.2 - 5.3) ** 2, rel=1e-4)
    np.testing.assert_allclose(gradient["cake"]["amounts"], [-0.04000015, -0.3333346, 0, 0], rtol=2e-5, atol=1e-7)
    _, plain = value_and_gradient(objective, parameters)
    np.testing.assert_allclose(-plain, [0.06000023, -0.13333383, -0.02000008, 0], rtol=2e-4, atol=1e-7)


def test_a_formula_of_other_properties() -> None:
    score, _ = value_and_gradient(
        *objective_of({"kind": "deliciousness", "targets": {"sweetness": "log(exp(cost)) * 2"}, "cost_weight": 0})
    )
    assert score == pytest.approx(-((PROPERTIES[0] - 2 * PROPERTIES[2]) ** 2), rel=1e-5)


def test_a_whole_number_and_a_constant_formula_are_numbers() -> None:
    for target in (10, "10", "5 + 5"):
        objective, parameters = objective_of(
            {"kind": "deliciousness", "targets": {"sweetness": target}, "cost_weight": 0}
        )
        assert value_and_gradient(objective, parameters)[0] == pytest.approx(-((PROPERTIES[0] - 10) ** 2), rel=1e-5)


def test_numbers_of_a_score_are_arrays_that_can_be_varied_and_differentiated() -> None:
    objective, parameters = objective_of({"kind": "deliciousness"})
    constants = objective.constants(parameters)
    weigh = lambda weights: objective.mean_score({"amounts": jnp.asarray(START)}, constants._replace(weights=weights))
    gradient = jax.jit(jax.grad(weigh))(constants.weights)
    assert float(gradient["cost_weight"]) == pytest.approx(-PROPERTIES[2], rel=1e-6)
    assert float(gradient["targets"]["sweetness"]) == pytest.approx(2 * (PROPERTIES[0] - 10), rel=1e-5)


TARGETS = np.array([9.5, 10.0, 10.5, 9.8])
PER_CUSTOMER = (
    (-0.12741832, 0, 0.25483665, -5.096733),
    (-0.22741833, 0, 0.45483667, -9.096733),
    (-0.32741833, 0, 0.65483665, -13.096733),
    (-0.18741837, 0, 0.37483674, -7.4967346),
)
BY_COLUMN = {"kind": "deliciousness", "targets": {"sweetness": {"column": "wish"}}, "cost_weight": 0}


def test_a_target_by_column_gives_each_customer_their_own_gradient() -> None:
    panel = replace(panel_of((1, 1, 1, 1), ingredients=4), columns={"wish": TARGETS})
    objective, parameters = objective_of(BY_COLUMN, everyone(panel, np.zeros(4, int), ("wish",)))
    assert objective.names == panel.customers
    constants = objective.constants(parameters)
    batch = objective.batch(constants, jnp.arange(4, dtype=jnp.int32), jnp.ones(4, bool))
    trained = {"cake": {"amounts": jnp.asarray(START)}}
    gradients, sums, counts = jax.jit(lambda t: unit_gradients(objective, t, batch, constants))(trained)
    np.testing.assert_allclose(gradients, PER_CUSTOMER, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(sums, (PROPERTIES[0] - TARGETS) ** 2, rtol=1e-5)
    np.testing.assert_array_equal(counts, np.ones(4))
    assert value_and_gradient(objective, parameters)[1] == pytest.approx(-np.mean(PER_CUSTOMER, axis=0), rel=1e-5)


def test_the_columns_a_score_reads_are_named_once() -> None:
    block: Any = TypeAdapter(schema.Score).validate_python(
        {"kind": "deliciousness", "targets": {"sweetness": {"column": "wish"}, "cost": {"column": "wish"}}}
    )
    assert build_score(block).columns == ("wish",)


# Cost


def test_cost_by_prices() -> None:
    prices = (2.0, 0.3, 0.4, 0.6)
    score = {"kind": "deliciousness", "targets": {"sweetness": 10.0}, "cost_weight": 0.25, "cost": "prices"}
    found, _ = value_and_gradient(*objective_of(score, prices=prices))
    assert found == pytest.approx(-((PROPERTIES[0] - 10) ** 2) - 0.25 * float(np.dot(prices, START)), rel=1e-5)


def test_a_cost_without_weight_needs_no_cost_property() -> None:
    panel = panel_of((1,) * 6, ingredients=4)
    objective, parameters = objective_of(
        {"kind": "deliciousness", "targets": {"crunch": 30.0}, "cost_weight": 0},
        panel=panel,
        properties={"kind": "scheffe", "columns": ["crunch"]},
    )
    expected = -((panel.properties["crunch"].mean() - 30.0) ** 2)
    assert value_and_gradient(objective, parameters)[0] == pytest.approx(expected, rel=1e-4)


# Liking


def liking(cost: str = "prices", **score: Any) -> tuple[CakeObjective, Parameters]:
    """Three customers in two groups whose utility is linear in amounts."""
    panel = panel_of((1, 1, 1), ingredients=4)
    audience = everyone(panel, np.array([0, 1, 1]), ())
    objective, parameters = objective_of(
        {"kind": "liking", "cost": cost, **score},
        audience,
        panel,
        prices=(2.0, 0.3, 0.4, 0.6),
        groups=2,
        utility={"kind": "linear"},
        **BAKERY,
    )
    weights = jnp.array([[0.5, -0.1, 0.2, 0.0], [-0.3, 0.1, 0.0, 0.4]])
    parameters["model"]["utility"] = {"weights": weights, "bias": jnp.array([0.1, -0.2])}
    return objective, parameters


def likings(objective: CakeObjective, parameters: Parameters) -> tuple[float, float]:
    module = objective.model(parameters["model"])
    z = (START - np.asarray(module.center[...])) / np.asarray(module.scale[...])
    weights, bias = (np.asarray(parameters["model"]["utility"][name], float) for name in ("weights", "bias"))
    first, second = 1 / (1 + np.exp(-(weights @ z + bias)))
    return float(first), float(second)


def test_liking_is_the_mean_over_the_customers() -> None:
    objective, parameters = liking()
    first, second = likings(objective, parameters)
    assert value_and_gradient(objective, parameters)[0] == pytest.approx((first + 2 * second) / 3, rel=1e-6)


@pytest.mark.parametrize(("cost", "amount"), [("prices", 2.0 + 0.9 + 0.8 + 0.9), ("property", PROPERTIES[2])])
def test_liking_less_the_weighted_cost(cost: str, amount: float) -> None:
    objective, parameters = liking(cost, cost_weight=0.1)
    first, second = likings(objective, parameters)
    expected = (first + 2 * second) / 3 - 0.1 * amount
    assert value_and_gradient(objective, parameters)[0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["liking", "column"])
def test_merging_customers_changes_neither_score_nor_gradient(kind: str) -> None:
    if kind == "liking":
        objective, parameters = liking(cost_weight=0.1)
    else:
        panel = replace(panel_of((1,) * 6, ingredients=4), columns={"wish": np.array([9.0, 9, 10, 9, 10, 11])})
        objective, parameters = objective_of(BY_COLUMN, everyone(panel, np.zeros(6, int), ("wish",)))
    together = replace(objective, audience=merged(objective.audience))
    assert together.units < objective.units
    apart, joined = (value_and_gradient(one, parameters) for one in (objective, together))
    assert apart[0] == pytest.approx(joined[0], rel=1e-6)
    np.testing.assert_allclose(apart[1], joined[1], rtol=1e-5, atol=1e-7)


def test_a_masked_customer_counts_nothing() -> None:
    objective, parameters = liking()
    constants = objective.constants(parameters)
    batch = objective.batch(constants, jnp.array([1, 0], jnp.int32), jnp.array([True, False]))
    loss = jax.jit(partial(batch_loss, objective))({"cake": {"amounts": jnp.asarray(START)}}, batch, constants)
    assert float(loss) == pytest.approx(-likings(objective, parameters)[1], rel=1e-6)


def test_the_frozen_model_is_an_array_among_the_constants() -> None:
    """Baked for other parameters without another program."""
    objective, parameters = liking()
    constants = objective.constants(parameters)
    for leaf in jax.tree.leaves(constants):
        assert isinstance(leaf, Array)
    doubled = jax.tree.map(lambda leaf: 2 * leaf, constants.model)
    score = jax.jit(objective.mean_score)
    cake = {"amounts": jnp.asarray(START)}
    assert score(cake, constants) != score(cake, constants._replace(model=doubled))


# The logit of P(like), which has a slope where P(like) is 1 or 0 to the last bit


def climbing(audience: Audience | None = None) -> tuple[CakeObjective, Parameters, Callable[[np.ndarray], np.ndarray]]:
    """The objective that climbs the logit, its parameters, and the utilities of its two groups in NumPy."""
    objective, parameters = liking()
    objective = replace(objective, climbs="logit", audience=audience or objective.audience)
    module = objective.model(parameters["model"])
    weights, bias = (np.asarray(parameters["model"]["utility"][name], float) for name in ("weights", "bias"))
    center, scale = np.asarray(module.center[...], float), np.asarray(module.scale[...], float)
    return objective, parameters, lambda amounts: weights @ ((amounts - center) / scale) + bias


def climbed(objective: CakeObjective, parameters: Parameters, amounts: np.ndarray) -> tuple[float, np.ndarray]:
    """What is climbed at a recipe (minus the loss), with its gradient."""
    constants = objective.constants(parameters)
    loss_of = lambda cake: batch_loss(objective, {"cake": cake}, objective.everyone(constants), constants)
    loss, gradient = jax.jit(jax.value_and_grad(loss_of))({"amounts": jnp.asarray(amounts)})
    return -float(loss), -np.asarray(gradient["amounts"])


def with_utilities(utilities: list[float], weight: list[float]) -> tuple[CakeObjective, Parameters]:
    """Two groups of such weights, with such utilities wherever the recipe is the starting one."""
    objective, parameters, _ = climbing(Audience(np.array([0, 1]), {}, np.array(weight), None))
    module = objective.model(parameters["model"])
    z = (START - np.asarray(module.center[...])) / np.asarray(module.scale[...])
    parameters["model"]["utility"]["bias"] = jnp.asarray(np.array(utilities) - np.array(SLOPES) @ z)
    parameters["model"]["utility"]["weights"] = jnp.asarray(SLOPES)
    return objective, parameters


SLOPES = [[0.5, -0.1, 0.2, 0.0], [-0.3, 0.1, 0.0, 0.4]]


def slopes_by_amount(objective: CakeObjective, parameters: Parameters) -> np.ndarray:
    """Slopes of both groups' utilities by amount, in NumPy."""
    return np.asarray(SLOPES) / np.asarray(objective.model(parameters["model"]).scale[...])


@pytest.mark.usefixtures("float64")
def test_what_is_climbed_is_the_logit_of_the_mean_with_the_gradient_of_finite_differences() -> None:
    objective, parameters, utilities = climbing()

    def logit(amounts: np.ndarray) -> float:
        first, second = 1 / (1 + np.exp(-utilities(amounts)))
        mean = (first + 2 * second) / 3
        return float(np.log(mean / (1 - mean)))

    value, gradient = climbed(objective, parameters, START)
    assert value == pytest.approx(logit(START), rel=1e-12)
    differences = [(logit(START + h) - logit(START - h)) / 2e-5 for h in 1e-5 * np.eye(4)]
    np.testing.assert_allclose(gradient, differences, rtol=1e-8)


@pytest.mark.usefixtures("float64")
def test_the_logit_has_a_slope_where_the_likings_are_1_and_0_to_the_last_bit() -> None:
    """With weights 1 and 3, by hand: the logit is set by the group that is nearer to being in doubt."""
    for utilities, expected, by_group in [
        ([1e4, 2e4], 1e4 - np.log(1 / 4), [1.0, 0.0]),
        ([-1e4, -2e4], -1e4 + np.log(1 / 4), [1.0, 0.0]),
        ([-2e4, -1e4], -1e4 + np.log(3 / 4), [0.0, 1.0]),
        ([1e4, 1e4], 1e4, [1 / 4, 3 / 4]),
        ([1e4, -1e4], np.log(1 / 3), [0.0, 0.0]),
    ]:
        objective, parameters = with_utilities(utilities, [1.0, 3.0])
        value, gradient = climbed(objective, parameters, START)
        assert value == pytest.approx(expected, rel=1e-12)
        by_amount = np.array(by_group) @ slopes_by_amount(objective, parameters)
        np.testing.assert_allclose(gradient, by_amount, rtol=1e-7, atol=1e-12)


def test_the_logit_of_a_lone_group_is_its_utility_however_many_customers_it_has() -> None:
    for utility in (-1e4, -30.0, -0.3, 0.7, 30.0, 1e4):
        objective, parameters = with_utilities([utility, 5.0], [1200.0, 7.0])
        alone = replace(objective, audience=Audience(np.array([0]), {}, np.array([1200.0]), None))
        value, gradient = climbed(alone, parameters, START)
        assert value == pytest.approx(utility, rel=2e-6)
        np.testing.assert_allclose(gradient, slopes_by_amount(alone, parameters)[0], rtol=1e-6)


@pytest.mark.parametrize("utility", [-1e4, 0.0, 1e4])
def test_customers_of_weight_0_do_not_count_in_the_logit(utility: float) -> None:
    objective, parameters = with_utilities([0.7, utility], [2.0, 0.0])
    value, gradient = climbed(objective, parameters, START)
    assert value == pytest.approx(0.7, rel=1e-5)
    np.testing.assert_allclose(gradient, slopes_by_amount(objective, parameters)[0], rtol=1e-5, atol=1e-7)


def test_an_infinite_utility_of_weight_0_does_not_poison_the_logit() -> None:
    def logit(utilities: jax.Array) -> jax.Array:
        terms = jax.vmap(Logit().log_odds_terms)(utilities)
        return log_odds_of_mean(*terms, jnp.array([1.0, 0.0, 0.0, 1.0]))

    value, gradient = jax.jit(jax.value_and_grad(logit))(jnp.array([0.4, jnp.inf, -jnp.inf, 0.4]))
    assert value == pytest.approx(0.4, rel=1e-6)
    np.testing.assert_allclose(gradient, [0.5, 0.0, 0.0, 0.5], rtol=1e-6)


def test_the_score_and_each_customers_loss_stay_the_probability() -> None:
    objective, parameters, _ = climbing()
    first, second = likings(objective, parameters)
    assert value_and_gradient(objective, parameters)[0] == pytest.approx((first + 2 * second) / 3, rel=1e-6)
    constants = objective.constants(parameters)
    trained = {"cake": {"amounts": jnp.asarray(START)}}
    _, sums, _ = jax.jit(lambda t: unit_gradients(objective, t, constants.audience, constants))(trained)
    np.testing.assert_allclose(sums, [-first, -second, -second], rtol=1e-6)
    assert objective.plain.climbs == "score"


def test_the_log_odds_and_the_utilities_are_there_for_the_certificate() -> None:
    objective, parameters = liking(cost_weight=0.1)
    constants, cake = objective.constants(parameters), {"amounts": jnp.asarray(START)}
    first, second = likings(objective, parameters)
    mean = (first + 2 * second) / 3
    assert float(jax.jit(objective.mean_log_odds)(cake, constants)) == pytest.approx(
        np.log(mean / (1 - mean)), rel=1e-5
    )
    expected = [np.log(p / (1 - p)) for p in (first, second)]
    np.testing.assert_allclose(jax.jit(objective.utilities)(cake, constants), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "climbs"),
    [
        ({}, "logit"),
        ({"score": {"kind": "liking", "cost_weight": 0.1}}, "score"),
        ({"score": {"kind": "deliciousness"}}, "score"),
        ({"batch": 10}, "score"),
        ({"optimizer": {"clip_global_norm": 1.0}}, "score"),
        ({"optimizer": {"clip_customer_norm": 1.0}}, "score"),
        ({"optimizer": {"limits": {"sugar": 1.0}}}, "score"),
    ],
)
def test_only_a_liking_without_cost_batch_clipping_or_limits_is_climbed_by_its_logit(
    changes: dict[str, Any], climbs: str
) -> None:
    optimizer = {"name": "adam", "learning_rate": 0.1} | changes.get("optimizer", {})
    block = {"kind": "bake", "length": 10, "score": {"kind": "liking"}, **changes, "optimizer": optimizer}
    assert climb_of(schema.Bake.model_validate(block)) == climbs


SEPARATED = """\
data: {recipes: recipes.csv, ratings: ratings.csv, like: {column: liking, at_least: 6, scale: [0, 10]}}
ingredients: {sugar: {min: 0.5, max: 2.5}}
model: {utility: {kind: linear, features: [amounts]}}
stages:
  fit: {kind: fit, length: 60, optimizer: {name: lbfgs}}
  bake: {kind: bake, length: 120, starts: 4, score: {kind: liking}, optimizer: {name: adam, learning_rate: 0.05}}
"""


@pytest.mark.long
def test_a_bake_whose_likings_are_saturated_everywhere_ends_at_the_bound(tmp_path: Path) -> None:
    """All like what has more than 1.5 of sugar, none what has less: any utility that separates them rises with it."""
    sugars = np.array([0.5, 1.0, 1.4, 1.6, 2.0, 2.5])
    recipes = "".join(f"r{k},{sugar}\n" for k, sugar in enumerate(sugars))
    ratings = "".join(f"c,r{k},{8 if sugar > 1.5 else 3}\n" for k, sugar in enumerate(sugars))
    (tmp_path / "recipes.csv").write_text(f"recipe,sugar\n{recipes}")
    (tmp_path / "ratings.csv").write_text(f"customer,recipe,liking\n{ratings}")
    (tmp_path / "study.yaml").write_text(SEPARATED)
    study, state, _, sinks = in_memory(load(tmp_path / "study.yaml"))
    objective = study.stages[1].objective
    assert isinstance(objective, CakeObjective)
    assert objective.climbs == "logit"
    first = next(record for record in sinks.records if record.measured.scores is not None and record.logged)
    assert max(first.measured.scores) == 1.0  # a start where P(like) has nowhere to go
    np.testing.assert_array_equal(state.parameters["cake"]["amounts"], np.full((4, 1), 2.5, np.float32))
    last = sinks.records[-1].measured
    np.testing.assert_array_equal(last.scores, np.ones(4))  # what is logged stays P(like)
    assert last.loss.max() < -30  # while what is trained by is minus its logit


# A score of the user's own


def own(tmp_path: Path, body: str) -> tuple[CakeObjective, Parameters]:
    file = tmp_path / "scores.py"
    file.write_text(f"import jax.numpy as jnp\n\n\ndef score(recipe, customer):\n    return {body}\n")
    panel = replace(panel_of((1, 1), ingredients=4), columns={"wish": np.array([1.0, 3.0])})
    block = {"kind": "own", "path": f"{file}:score", "columns": ["wish"]}
    return objective_of(block, everyone(panel, np.zeros(2, int), ("wish",)), prices=(1.0, 0.0, 0.0, 2.0))


def test_an_own_score_reads_amounts_properties_cost_and_columns(tmp_path: Path) -> None:
    body = "customer.columns['wish'] * recipe.amounts['eggs'] + recipe.properties['fluffiness'] - recipe.cost"
    score, gradient = value_and_gradient(*own(tmp_path, body))
    assert score == pytest.approx(2 * 3.0 + 5.2 - (1.0 + 2 * 1.5), rel=1e-6)
    np.testing.assert_allclose(gradient, [0.2 - 1, 2 + 5 / 3, 0, -2], rtol=1e-6, atol=1e-6)


def test_an_own_score_may_be_a_plain_number(tmp_path: Path) -> None:
    score, gradient = value_and_gradient(*own(tmp_path, "3.0"))
    assert score == 3.0
    np.testing.assert_array_equal(gradient, np.zeros(4))


def test_an_own_score_that_is_no_scalar_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        value_and_gradient(*own(tmp_path, "jnp.ones(2)"))
    assert str(caught.value) == "the score gives an array of shape (2,) for one customer: expected a scalar"


def test_without_a_likelihood_model_an_own_score_sees_no_liking(tmp_path: Path) -> None:
    score, _ = value_and_gradient(*own(tmp_path, "1.0 if recipe.liking is None else 0.0"))
    assert score == 1.0


# The customers' own gradients, for which the property model is differentiated once


def vibrating(recipe: Recipe, customer: Customer, weights: Any) -> jax.Array:
    """A score of the user's own, of everything that a customer can see."""
    z = recipe.settings["vibration"]
    first, *_ = recipe.amounts.values()  # as written: the butter
    seen = recipe.properties["fluffiness"] + recipe.cost + recipe.settings["rest"] * first
    assert recipe.liking is not None
    return customer.columns["wish"] * (3.0 * z.real - z.real**2 - z.imag**3) - (seen - 4.0) ** 2 * recipe.liking


def vibrating_cake(customers: int, groups: int = 1) -> tuple[CakeObjective, Parameters, Parameters]:
    """An objective whose cake has real and complex settings; the parameters, and the trained ones."""
    panel = panel_of((2,) * customers, ingredients=4)
    utility = {"kind": "linear", "features": ["amounts"]}
    model, parameters = model_of(panel, INGREDIENTS, groups, properties={"kind": "bakery"}, utility=utility)
    random = np.random.default_rng(1)
    weights = jnp.asarray(random.normal(size=(groups, 4)), jnp.float32)
    parameters["model"]["utility"] = {**parameters["model"]["utility"], "weights": weights}
    settings = {"vibration": jnp.array(0.3 - 0.4j), "rest": jnp.array(0.7)}
    cake, trained = Functional.split(Cake(jnp.asarray(START), settings))
    score = BuiltScore(vibrating, vibrating, {}, ("wish",))
    group = np.arange(customers) % groups
    audience = Audience(group, {"wish": random.normal(size=customers)}, random.random(customers), None)
    return CakeObjective(space_of((0.1, 0.2, 0.3, 0.4)), model, cake, score, audience), parameters, {"cake": trained}


@pytest.mark.parametrize(
    ("aggregate", "groups"),
    swept(("sum", "mean_customers"), (1, 3), by_default=[("sum", 1), ("mean_customers", 3)]),
)
def test_each_customers_gradient_is_that_of_their_own_loss(aggregate: Aggregate, groups: int) -> None:
    objective, parameters, trained = vibrating_cake(40, groups)
    objective = replace(objective, aggregate=aggregate)
    constants = objective.constants(parameters)
    batch = objective.everyone(constants)
    gradients, sums, counts = jax.jit(lambda t: unit_gradients(objective, t, batch, constants))(trained)
    flat = Flat.of_one(trained)

    def term(vector: jax.Array, customer: jax.Array) -> jax.Array:
        unit = jax.tree.map(lambda values: values[customer], batch)
        total, count = objective.unit_loss(flat.unravel(vector), unit, constants)
        return total / count if aggregate == "mean_customers" else total

    by_customer = jax.jit(jax.vmap(jax.grad(term), in_axes=(None, 0)))
    assert gradients.shape == (40, 4 + 1 + 2)
    np.testing.assert_allclose(gradients, by_customer(flat.ravel_one(trained), jnp.arange(40)), rtol=2e-5, atol=2e-5)
    assert np.abs(gradients).max(axis=0).min() > 1e-3
    np.testing.assert_array_equal(counts, batch.weight)
    assert np.isfinite(sums).all()


def test_a_recipe_is_differentiated_once_for_all_customers() -> None:
    """A wide network would otherwise dominate: 10,000 multiplications a customer."""
    panel = replace(panel_of((1,) * 2_000, ingredients=4), columns={"wish": np.linspace(0.0, 1.0, 2_000)})
    network = {"kind": "mlp", "hidden": [100, 100], "columns": ["crunch"]}
    block = {"kind": "deliciousness", "targets": {"crunch": {"column": "wish"}}, "cost_weight": 0}
    audience = everyone(panel, np.zeros(2_000, int), ("wish",))
    objective, parameters = objective_of(block, audience, panel, properties=network)
    constants = objective.constants(parameters)
    run = jax.jit(lambda t: unit_gradients(objective, t, objective.everyone(constants), constants)[0])
    cost = run.lower({"cake": {"amounts": jnp.asarray(START)}}).compile().cost_analysis()
    assert cost["flops"] < 2_000 * 1_000
