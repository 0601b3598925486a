"""What an answer says of each of its numbers: the cases that once came out wrong, and others of the same kinds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float64
from scipy.optimize import minimize
from scipy.special import expit, logit

from optim.analysis.answer import final_metrics
from optim.analysis.tasted_answer import TastedRecipes
from optim.analysis.verdicts import CHECKED, NOT_DETERMINED, NOT_KNOWN, NOT_SETTLED
from optim.config.errors import UserError
from optim.config.loading import load
from optim.data.tallies import tally
from optim.study.study import build_study
from tests.analysis.studies import GROUPED, LINEAR, Answered, Answers, Maximum, Tables, maximum

Case = Callable[[str], Path]
COCKTAIL = Path(__file__).parent.parent.parent / "configs" / "cocktail.yaml"
SHORT = "stages.bake.length=20"
NEWTON = "stages={fit: {kind: fit, length: 12, optimizer: {name: newton}}}"
NORMAL = 1.959963984540054

SUGAR = [0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.5]
BUTTER = [1.0, 1.5, 2.0, 1.0, 1.5, 2.0, 1.0, 1.5, 2.0, 1.4]
BOUNDS = "{sugar: {min: 0.5, max: 2.5}, butter: {min: 1, max: 2}}"
MIXED = [4, 6, 9, 7, 8, 12, 11, 13, 16, 17]
OTHERS = [5, 4, 4, 9, 9, 8, 14, 13, 13, 16]
SEPARATED = [0, 0, 0, 0, 0, 0, 20, 20, 20, 20]
SIZES = {"north": 20, "south": 60}
ROWS = np.column_stack([SUGAR, BUTTER, np.ones(10)])
NAMES = ("sugar", "butter", "constant")

# Eight recipes within |a − 2| + |b − 2| ≤ 1, and a taste whose best recipe lies outside of it.
DIAMOND = np.array([[2, 1], [1, 2], [3, 2], [2, 3], [2, 2], [1.5, 1.5], [2.5, 2.5], [2.5, 1.5], [1.5, 2.5]])
DIAMOND_LIKES = np.round(40 * expit(1.5 - (DIAMOND[:, 0] - 3.2) ** 2 - 0.5 * (DIAMOND[:, 1] - 2.8) ** 2))


@pytest.fixture(scope="module")
def ask() -> Answers:
    """Answers of studies, each trained once."""
    return Answers()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the studies of this module stand."""
    return tmp_path_factory.mktemp("studies")


@pytest.fixture(scope="module")
def two_groups(folder: Path) -> Path:
    """Two groups who were both asked, and differ."""
    tables = Tables({"sugar": SUGAR, "butter": BUTTER}, {"north": MIXED, "south": OTHERS})
    return tables.write(folder / "two", BOUNDS, GROUPED)


@pytest.fixture(scope="module")
def uneven_groups(folder: Path) -> Path:
    """The same two groups, and three times as many in the south: P(like) over all of them is no mean of two numbers."""
    likes = {"north": MIXED, "south": [3 * liked for liked in OTHERS]}
    return Tables({"sugar": SUGAR, "butter": BUTTER}, likes, SIZES).write(folder / "uneven", BOUNDS, GROUPED)


@pytest.fixture(scope="module")
def one_separated(folder: Path) -> Path:
    """Two groups, and what one of them likes is separated by sugar."""
    tables = Tables({"sugar": SUGAR, "butter": BUTTER}, {"north": SEPARATED, "south": MIXED})
    return tables.write(folder / "separated", BOUNDS, GROUPED)


@pytest.fixture(scope="module")
def diamond(folder: Path) -> Path:
    """A quadratic taste, tasted within a diamond only."""
    tables = Tables({"a": DIAMOND[:, 0].tolist(), "b": DIAMOND[:, 1].tolist()}, {"all": DIAMOND_LIKES.tolist()}, 40)
    utility = "{utility: {kind: quadratic, features: [amounts]}}"
    return tables.write(folder / "diamond", "{a: {min: 0.5, max: 4, unit: g}, b: {min: 0.5, max: 4}}", utility)


def quadratic(points: Float64[np.ndarray, "recipes 2"]) -> Float64[np.ndarray, "recipes 6"]:
    a, b = points.T
    return np.column_stack([np.ones(len(points)), a, b, a * a, a * b, b * b])


def diamond_fit() -> Maximum:
    return maximum(quadratic(DIAMOND), DIAMOND_LIKES, np.full(len(DIAMOND), 40.0))


# The cases that once came out wrong.


@pytest.mark.long
def test_amounts_of_one_sum_determine_the_coefficients_without_a_constant_alone(case: Case, ask: Answers) -> None:
    found = ask(case("collinear") / "config.yaml", NEWTON)
    said = "orange + banana + mango is always 1, so the constant is not determined: leave it out"
    assert found.likelihood["parameters"] == {"weights": {}}
    assert set(found.likelihood["not_determined"]) == {"constant", "orange", "banana", "mango"}
    assert all(said in reason for reason in found.likelihood["not_determined"].values())
    assert found.likelihood["log_likelihood"] == pytest.approx(-363.3845, abs=5e-5)
    assert (found.likelihood["certificate"]["rank"], found.likelihood["certificate"]["parameters"]) == (3, 4)
    reduced = found.likelihood["reduced"]
    assert reduced["left_out"] == ["constant"]
    expected = {"orange": -2.4159, "banana": 0.7913, "mango": 1.5359}
    assert reduced["parameters"]["weights"] == pytest.approx(expected, abs=5e-5)
    assert said in found.warnings["likelihood.parameters"]


@pytest.mark.long
def test_without_the_constant_all_coefficients_are_determined(case: Case, ask: Answers) -> None:
    config = case("collinear") / "config.yaml"
    found = ask(config, "model.utility.intercept=false", NEWTON)
    expected = {"orange": -2.4159, "banana": 0.7913, "mango": 1.5359}
    assert found.likelihood["parameters"]["weights"] == pytest.approx(expected, abs=5e-5)
    assert "not_determined" not in found.likelihood
    assert "likelihood.parameters" not in found.warnings
    errors = ask(config, NEWTON).likelihood["reduced"]["standard_errors"]["weights"]
    assert found.likelihood["standard_errors"]["weights"] == pytest.approx(errors, rel=1e-5)


def test_a_group_that_nobody_asked_is_not_known_and_left_out_of_the_mean(case: Case, ask: Answers) -> None:
    found = ask(case("untasted_group") / "config.yaml")
    liking = found.result["liking"]
    assert found.result["recipe"] == pytest.approx({"sugar": 2.5, "butter": 1.0})
    assert liking["mean"] == pytest.approx(0.96698, abs=5e-6)
    assert (liking["customers"], liking["not_known"]) == (40, {"children": 20})
    assert liking["by_group"]["adults"]["mean"] == liking["mean"]
    assert liking["by_group"]["children"] == {"status": NOT_KNOWN, "customers": 20, "reason": "nobody was asked"}
    assert found.result["score"] == pytest.approx(liking["mean"], abs=1e-6)
    assert found.likelihood["parameters"]["by_group"]["children"] == {"weights": {}}
    assert set(found.likelihood["not_determined"]["by_group"]["children"]) == {"constant", "sugar", "butter"}
    assert "children: nobody was asked" in found.warnings["likelihood.parameters"]


@pytest.mark.parametrize("length", [40, pytest.param(400, marks=pytest.mark.long)])
def test_separated_likes_have_no_coefficients_and_the_recipe_rises_with_sugar(
    case: Case, ask: Answers, length: int
) -> None:
    found = ask(case("separation") / "config.yaml", f"stages.fit.length={length}")
    assert found.result["recipe"]["sugar"] == 2.5
    assert found.likelihood["parameters"] == {"weights": {}}
    assert set(found.likelihood["not_determined"]) == {"constant", "sugar", "butter"}
    assert found.likelihood["separated"] == {"complete": True, "raises": ["sugar"], "lowers": []}
    assert "standard_errors" not in found.likelihood
    assert "mean" not in found.result["liking"]
    assert "score" not in found.result
    assert found.likelihood["certificate"]["status"] == NOT_DETERMINED
    assert found.result["status"] == dict.fromkeys(("recipe", "score", "liking"), NOT_DETERMINED)
    told = json.dumps(found.result)
    assert "raise stages.fit.length" not in told
    assert "sugar of 1.75 or more was liked, everything with 1.5 or less was not" in told


@pytest.mark.long
def test_eight_recipes_do_not_determine_fifteen_coefficients(case: Case, ask: Answers) -> None:
    found = ask(case("eight_recipes") / "config.yaml", "stages.bake.length=100", "stages.bake.starts=2")
    assert found.likelihood["design"]["rank"] == found.likelihood["design"]["recipes"] == 8
    assert found.likelihood["parameters"] == {"weights": {}, "products": {}}
    assert len(found.likelihood["not_determined"]) == found.likelihood["design"]["coefficients"] == 15
    assert "mean" not in found.result["liking"]
    assert "score" not in found.result
    assert found.result["status"] == dict.fromkeys(("recipe", "score", "liking"), NOT_DETERMINED)
    assert found.result["tasted"]["inside"] is False
    assert found.result["tasted"]["distance"] > 0.5
    assert "the recipe lies outside what was tasted: water 83.3 ml more" in found.warnings["tasted"]
    assert "15 coefficients, 8 distinct recipes: rank 8" in found.warnings["likelihood.parameters"]
    # Where it was tasted, a saturated utility is that of the recipe's own share of likes.
    assert found.likelihood["log_likelihood"] == pytest.approx(found.likelihood["recipe_means"]["log_likelihood"])


@pytest.mark.long
def test_eight_recipes_in_fractions_are_an_extrapolation(case: Case, ask: Answers) -> None:
    """The true P(like) there is .001."""
    found = ask(case("eight_recipes") / "config.yaml", "model.utility={kind: linear, features: [fractions]}", SHORT)
    assert found.result["liking"]["status"] == NOT_DETERMINED
    assert "an extrapolation" in found.result["liking"]["reason"]
    assert found.result["status"] == dict.fromkeys(("recipe", "score", "liking"), NOT_DETERMINED)
    assert found.result["tasted"]["in"] == "fractions"
    assert found.result["tasted"]["distance"] > 0.5
    assert found.result["tasted"]["leverage"] > 3 * found.result["tasted"]["largest_tasted_leverage"]


@pytest.mark.long
def test_the_best_inside_is_found_in_fractions_where_there_is_no_total(case: Case, ask: Answers) -> None:
    """The tasted recipes themselves are allowed, so that there is a best one among their mixtures."""
    found = ask(case("eight_recipes") / "config.yaml", "model.utility={kind: linear, features: [fractions]}", SHORT)
    assert "best_inside" in found.result["tasted"]


@pytest.mark.long
def test_a_network_of_eight_recipes_is_no_finding(case: Case, ask: Answers) -> None:
    """The true P(like) of what it bakes was .35, where .888 was claimed."""
    network = "model.utility={kind: mlp, features: [amounts]}"
    found = ask(case("eight_recipes") / "config.yaml", network, SHORT)
    assert "mean" not in found.result["liking"]
    assert "score" not in found.result
    assert found.result["status"]["liking"] == NOT_DETERMINED
    assert "97 parameters, 8 distinct recipes" in found.warnings["likelihood.parameters"]
    assert found.result["tasted"]["best_inside"]["liking"]["status"] == NOT_DETERMINED
    for absent in ("standard_errors", "design"):  # its parameters are there, as they are, and nothing is inferred
        assert absent not in found.likelihood


@pytest.mark.long
def test_held_out_recipes_show_that_new_ones_cannot_be_predicted(case: Case, ask: Answers) -> None:
    found = ask(case("eight_recipes") / "config.yaml", NEWTON, "data.evaluation={share: 0.25, by: recipe}")
    held_out = found.likelihood["held_out"]
    assert (held_out["by"], held_out["responses"]) == ("recipe", 80)
    assert held_out["log_likelihood"] < held_out["null"]["log_likelihood"]
    metrics = final_metrics(found.result)
    assert metrics["final/held_out_log_likelihood"] == held_out["log_likelihood"]
    assert not {"final/score", "final/liking"} & set(metrics)


@pytest.fixture
def cocktail_tables(cocktail: Path) -> tuple[str, str]:
    return f"data.recipes={cocktail}/recipes.csv", f"data.ratings={cocktail}/ratings.csv"


@pytest.mark.long
def test_a_fit_far_from_its_maximum_says_so(cocktail_tables: tuple[str, str], ask: Answers) -> None:
    adam = "stages.fit={kind: fit, length: 100, optimizer: {name: adam, learning_rate: 1e-3}}"
    found = ask(COCKTAIL, *cocktail_tables, adam)
    certificate = found.likelihood["certificate"]
    assert (certificate["status"], certificate["settled"]) == (NOT_SETTLED, False)
    assert "optimizer: {name: newton}" in certificate["text"]
    assert certificate["delta"] > 10
    assert "optimizer: {name: newton}" in found.warnings["stages.fit"]
    assert found.result["liking"]["status"] == found.result["status"]["liking"] == NOT_SETTLED
    assert found.result["status"]["recipe"] != CHECKED
    assert "standard_errors" not in found.likelihood
    assert "interval" not in found.result["liking"]
    assert final_metrics(found.result)["final/settled"] == 0.0


@pytest.mark.long
def test_three_steps_of_lbfgs_are_said_to_be_too_few(cocktail_tables: tuple[str, str], ask: Answers) -> None:
    """-975.07 for -974.317: δ² / 2 is what is left to gain, to second order."""
    found = ask(COCKTAIL, *cocktail_tables, "stages={fit: {kind: fit, length: 3, optimizer: {name: lbfgs}}}")
    left = -974.3173 - found.likelihood["log_likelihood"]
    assert found.likelihood["certificate"]["status"] == NOT_SETTLED
    assert found.likelihood["certificate"]["delta"] ** 2 / 2 == pytest.approx(left, rel=0.1)
    assert "raise stages.fit.length" in found.likelihood["certificate"]["text"]


def test_the_cocktail_is_computed_and_checked(cocktail_tables: tuple[str, str], cocktail: Path, ask: Answers) -> None:
    newton = "stages.fit={kind: fit, length: 8, optimizer: {name: newton}}"
    found = ask(COCKTAIL, *cocktail_tables, newton)
    likelihood = found.likelihood
    assert likelihood["log_likelihood"] == pytest.approx(-974.317, abs=5e-4)
    assert likelihood["null"]["log_likelihood"] == pytest.approx(-1109.0242, abs=5e-5)
    assert likelihood["recipe_means"]["log_likelihood"] == pytest.approx(-959.2372, abs=5e-5)
    assert likelihood["loss_per_response"] == pytest.approx(974.317 / 1600, rel=1e-6)
    expected = {"orange": 0.190, "banana": 0.253, "mango": 0.268, "lemon": 1.403}
    assert likelihood["standard_errors"]["weights"] == pytest.approx(expected, abs=5e-4)
    assert likelihood["certificate"]["delta"] < 1e-3
    assert found.result["status"] == dict.fromkeys(("recipe", "score", "liking"), CHECKED)
    assert "warnings" not in found.result
    tasted = found.result["tasted"]
    assert (tasted["in"], tasted["inside"]) == ("fractions", True)
    assert "best_inside" not in tasted
    weights = {"orange": -0.046, "banana": 1.620, "mango": 2.833, "lemon": -19.090}
    assert likelihood["parameters"]["weights"] == pytest.approx(weights, abs=0.005)
    assert (likelihood["responses"], likelihood["customers"]) == (1600, 100)
    published = {"orange": 0.20, "banana": 0.30, "mango": 0.50, "lemon": 0.0}
    assert found.result["recipe"] == pytest.approx(published, abs=0.002)
    liking = found.result["liking"]
    assert liking["mean"] == pytest.approx(0.869, abs=5e-4)
    # The interval of the logit by the delta method, from the tables themselves.
    table = np.genfromtxt(cocktail / "recipes.csv", delimiter=",", names=True)
    amounts = np.stack([table[name] for name in ("orange", "banana", "mango", "lemon")], axis=1)
    ratings = np.loadtxt(cocktail / "ratings.csv", delimiter=",", skiprows=1)
    recipe, like = ratings[:, 1].astype(int) - 1, ratings[:, 2] >= 6
    rows = amounts / amounts.sum(axis=1, keepdims=True)
    best = maximum(rows, np.bincount(recipe, like), np.bincount(recipe).astype(float))
    at = np.array(list(found.result["recipe"].values()))
    error = np.sqrt(at @ np.linalg.inv(best.information) @ at)
    assert liking["logit_standard_error"] == pytest.approx(error, rel=1e-4)
    assert liking["interval"] == pytest.approx(expit(at @ best.theta + np.array([-1, 1]) * NORMAL * error), rel=1e-5)


# Others of the same kinds.


@pytest.mark.long
def test_one_separated_group_takes_nothing_from_the_other(one_separated: Path, ask: Answers) -> None:
    found = ask(one_separated)
    south = maximum(ROWS, np.array(MIXED, float), np.full(10, 20.0))
    by_group = found.likelihood["parameters"]["by_group"]
    assert by_group["north"] == {"weights": {}}
    assert set(found.likelihood["not_determined"]["by_group"]) == {"north"}
    assert "sugar of 2 or more was liked" in found.likelihood["not_determined"]["by_group"]["north"]["butter"]
    assert list(found.likelihood["separated"]["by_group"]) == ["north"]
    given = [*by_group["south"]["weights"].values(), by_group["south"]["bias"]]
    assert given == pytest.approx(south.theta, rel=1e-4)
    errors = found.likelihood["standard_errors"]["by_group"]
    assert list(errors) == ["south"]
    assert [*errors["south"]["weights"].values(), errors["south"]["bias"]] == pytest.approx(south.errors, rel=1e-4)
    liking = found.result["liking"]
    assert "mean" not in liking
    assert "mean" not in liking["by_group"]["north"]
    at = np.array([*found.result["recipe"].values(), 1.0])
    assert liking["by_group"]["south"]["mean"] == pytest.approx(expit(at @ south.theta), rel=1e-4)


@pytest.mark.long
def test_a_fit_that_has_not_settled_says_so_beside_a_separated_group(one_separated: Path, ask: Answers) -> None:
    """Sugar of the south is .40 after 30 steps of Adam, for 1.12 with a standard error of .23."""
    adam = "stages.fit={kind: fit, length: 30, optimizer: {name: adam, learning_rate: 0.01}}"
    found = ask(one_separated, adam, SHORT)
    south = maximum(ROWS, np.array(MIXED, float), np.full(10, 20.0))
    given = found.likelihood["parameters"]["by_group"]["south"]["weights"]["sugar"]
    assert abs(given - south.theta[0]) > 2 * south.errors[0]  # so that it may not be called an estimate
    inside = found.result["tasted"]["best_inside"]["liking"]["by_group"]["south"]
    assert inside["status"] != CHECKED
    assert "standard_errors" not in found.likelihood
    assert "stages.fit" in found.warnings


ALWAYS = {"sugar": [*SUGAR, 1.5, 2.5], "butter": [*BUTTER, 1.5, 1.5]}
SAME = [butter == 1.5 for butter in ALWAYS["butter"]]
NORTH = [3, 7, 11, 9, 17]


@pytest.fixture(scope="module")
def always(folder: Path) -> Path:
    """The north tasted butter at 1.5 only."""
    given = iter(NORTH)
    north = [next(given) if same else None for same in SAME]
    return Tables(ALWAYS, {"north": north, "south": [*MIXED, 12, 15]}).write(folder / "always", BOUNDS, GROUPED)


@pytest.mark.long
def test_an_ingredient_that_was_always_the_same_in_one_group_is_named(always: Path, ask: Answers) -> None:
    found = ask(always, "ingredients.sugar.max=2")
    hidden = found.likelihood["not_determined"]["by_group"]
    assert {group: set(names) for group, names in hidden.items()} == {"north": {"butter", "constant"}}
    said = "in north butter was always 1.5, so what it does there cannot be told from the constant"
    assert said in hidden["north"]["butter"]
    assert said in found.warnings["likelihood.parameters"]
    rows = np.column_stack([np.array(ALWAYS["sugar"])[SAME], np.ones(5)])
    expected = maximum(rows, np.array(NORTH, float), np.full(5, 20.0))
    north = found.likelihood["parameters"]["by_group"]["north"]["weights"]
    assert north == pytest.approx({"sugar": expected.theta[0]}, rel=1e-4)


@pytest.mark.long
def test_what_one_group_has_tasted_nothing_like_is_not_determined_for_it_alone(always: Path, ask: Answers) -> None:
    found = ask(always, "ingredients.sugar.max=2")
    sugar, butter = found.result["recipe"].values()
    assert found.result["tasted"]["inside"] is True
    assert found.result["tasted"]["outside_for"] == ["north"]
    by_group = found.result["liking"]["by_group"]
    assert (by_group["north"]["status"], by_group["south"]["status"]) == (NOT_DETERMINED, CHECKED)
    assert "mean" not in by_group["north"]
    assert "mean" not in found.result["liking"]
    assert "score" not in found.result
    assert found.result["liking"]["status"] == NOT_DETERMINED
    assert f"outside what north tasted: butter {1.5 - butter:.3g} less" in found.warnings["liking.by_group.north"]
    rows = np.column_stack([ALWAYS["sugar"], ALWAYS["butter"], np.ones(12)])
    south = maximum(rows, np.array([*MIXED, 12, 15], float), np.full(12, 20.0))
    assert by_group["south"]["mean"] == pytest.approx(expit(np.array([sugar, butter, 1]) @ south.theta), rel=1e-5)


@pytest.mark.long
def test_a_constant_sum_beside_a_fixed_ingredient(folder: Path, ask: Answers) -> None:
    flour, likes = np.array([60.0, 50, 40, 30, 45, 55, 35, 65]), np.array([4.0, 6, 9, 12, 8, 5, 11, 3])
    tables = Tables(
        {"flour": flour.tolist(), "sugar": (90 - flour).tolist(), "salt": [10.0] * 8},
        {"all": [int(like) for like in likes]},
        total=100,
    )
    bounds = "{flour: {min: 20, max: 70}, sugar: {min: 20, max: 70}, salt: {fixed: 10}}"
    found = ask(tables.write(folder / "fixed", bounds), NEWTON)
    assert found.likelihood["parameters"] == {"weights": {}}
    hidden = found.likelihood["not_determined"]
    assert set(hidden) == {"constant", "flour", "sugar", "salt"}
    assert "flour + sugar is always 90, so the constant is not determined: leave it out" in hidden["flour"]
    assert hidden["salt"] == "it was always tasted at the amount at which it is held: nothing depends on it"
    expected = maximum(np.column_stack([flour, 90 - flour]), likes, np.full(8, 20.0))
    given = found.likelihood["reduced"]["parameters"]["weights"]
    assert given == pytest.approx({"flour": expected.theta[0], "sugar": expected.theta[1]}, rel=1e-4)


@pytest.mark.long
def test_a_segment_of_a_pooled_utility_that_nobody_asked_is_named(folder: Path, ask: Answers) -> None:
    tables = Tables({"sugar": SUGAR, "butter": BUTTER}, {"north": MIXED, "children": None})
    found = ask(tables.write(folder / "pooled", BOUNDS, LINEAR), NEWTON)
    assert found.likelihood["customers"] == 20
    assert found.likelihood["design"]["segments"]["segment"]["children"]["responses"] == 0
    said = "segment = children: nobody was asked"
    assert said in found.warnings["liking"]


@pytest.mark.long
def test_a_property_nobody_s_score_reads_is_named(folder: Path, ask: Answers) -> None:
    """Sweetness of the bakery reads butter, flour and sugar, and neither eggs nor salt."""
    random = np.random.default_rng(4)
    names = ("butter", "eggs", "flour", "sugar", "salt")
    amounts = np.round(random.uniform([0.4, 1, 1, 0.5, 0], [2, 5, 3, 2.5, 1], (12, 5)), 2)
    sweetness = 10 * np.log1p(amounts[:, 3]) + 0.1 * amounts[:, 0] - 0.2 * amounts[:, 2]
    likes = np.round(20 * expit(0.8 * (sweetness - 8.5)))
    tables = Tables(dict(zip(names, amounts.T.tolist(), strict=True)), {"all": [int(like) for like in likes]})
    bounds = (
        "{butter: {min: 0.4, max: 2}, eggs: {min: 1, max: 5}, flour: {min: 1, max: 3}, sugar: {min: 0.5, max: 2.5}, "
        "salt: {min: 0, max: 1}}"
    )
    model = "{properties: {kind: bakery}, utility: {kind: linear, features: [sweetness]}}"
    found = ask(tables.write(folder / "unread", bounds, model))
    assert found.result["certificate"]["unread"] == ["eggs", "salt"]
    for name in ("eggs", "salt"):
        assert f"the score does not depend on {name}" in found.warnings[f"recipe.{name}"]
    assert not {"recipe.butter", "recipe.flour", "recipe.sugar"} & set(found.warnings)
    assert found.result["status"]["recipe"] == NOT_KNOWN
    assert not {"eggs", "salt"} & set(found.result["tasted"].get("beyond", {}))
    expected = maximum(np.column_stack([sweetness, np.ones(12)]), likes, np.full(12, 20.0))
    given = found.likelihood["parameters"]
    assert [given["weights"]["sweetness"], given["bias"]] == pytest.approx(expected.theta, rel=1e-4)


@pytest.mark.parametrize("reads", [True, False])
def test_an_own_score_that_reads_the_liking_of_those_nobody_asked_is_refused(folder: Path, reads: bool) -> None:
    home = folder / f"own-{reads}"
    tables = Tables({"sugar": SUGAR, "butter": BUTTER}, {"north": MIXED, "children": None})
    config = tables.write(home, BOUNDS, GROUPED)
    body = "recipe.liking - 0.1 * recipe.amounts['sugar']" if reads else "-((recipe.amounts['sugar'] - 1.2) ** 2)"
    (home / "own.py").write_text(f"def score(recipe, customer):\n    return {body}\n")
    loaded = load(config, [f"stages.bake.score={{kind: own, path: '{home}/own.py:score'}}"])
    if reads:
        with pytest.raises(UserError, match=r"P\(like\), which is not known of `children`: nobody there was asked"):
            build_study(loaded)
    else:
        build_study(loaded)


@pytest.fixture(scope="module")
def apart(folder: Path) -> tuple[Path, str, str, str]:
    """A score of the user's own that reads sugar alone, beside a group that nobody asked."""
    home = folder / "apart"
    tables = Tables({"sugar": SUGAR, "butter": BUTTER}, {"north": MIXED, "children": None})
    config = tables.write(home, BOUNDS, GROUPED)
    (home / "own.py").write_text("def score(recipe, customer):\n    return -((recipe.amounts['sugar'] - 1.2) ** 2)\n")
    length = "stages.bake.length=200"
    return config, f"stages.bake.score={{kind: own, path: '{home}/own.py:score'}}", length, "stages.bake.starts=1"


@pytest.mark.long
def test_a_score_that_reads_no_liking_stands_beside_a_group_nobody_asked(
    apart: tuple[Path, str, str, str], ask: Answers
) -> None:
    found = ask(*apart)
    assert found.result["recipe"]["sugar"] == pytest.approx(1.2, abs=1e-3)
    assert found.result["score"] == pytest.approx(0, abs=1e-5)
    assert found.result["liking"]["not_known"] == {"children": 20}


@pytest.mark.long
def test_an_ingredient_that_an_own_score_never_reads_is_named_with_a_single_start(
    apart: tuple[Path, str, str, str], ask: Answers
) -> None:
    found = ask(*apart)
    assert "recipe.butter" in found.warnings
    assert found.result["status"]["recipe"] != CHECKED


# P(like), and where it was tasted.


def test_liking_and_its_interval_by_group_are_those_of_the_delta_method(uneven_groups: Path, ask: Answers) -> None:
    found = ask(uneven_groups)
    at = np.array([*found.result["recipe"].values(), 1.0])
    by_group, means = found.result["liking"]["by_group"], []
    variances = []
    for group, likes in (("north", MIXED), ("south", OTHERS)):
        size = SIZES[group]
        best = maximum(ROWS, np.array(likes, float) * (size / 20), np.full(10, float(size)))
        error = np.sqrt(at @ np.linalg.inv(best.information) @ at)
        given = by_group[group]
        assert given["customers"] == size
        assert given["mean"] == pytest.approx(expit(at @ best.theta), rel=1e-5)
        assert given["logit_standard_error"] == pytest.approx(error, rel=1e-4)
        ends = expit(at @ best.theta + np.array([-1, 1]) * NORMAL * error)
        assert given["interval"] == pytest.approx(ends, rel=1e-4)
        means.append(given["mean"])
        variances.append((means[-1] * (1 - means[-1]) * error) ** 2)
    shares = np.array([20, 60]) / 80
    mean = shares @ means
    assert abs(mean - np.mean(means)) > 0.005  # the sizes matter here
    assert found.result["liking"]["customers"] == 80
    assert found.result["liking"]["mean"] == pytest.approx(mean, rel=1e-6)
    assert found.result["score"] == pytest.approx(mean, rel=1e-5)  # what was baked for
    error = np.sqrt(shares**2 @ variances) / (mean * (1 - mean))  # of the mean's logit
    ends = expit(logit(mean) + np.array([-1, 1]) * NORMAL * error)
    assert found.result["liking"]["interval"] == pytest.approx(ends, rel=1e-4)


@pytest.mark.long
def test_a_network_s_liking_over_groups_of_different_sizes_is_that_of_a_customer(
    uneven_groups: Path, ask: Answers
) -> None:
    """Without a design, whose groups have intervals."""
    adam = "stages.fit={kind: fit, length: 60, optimizer: {name: adam, learning_rate: 0.05}}"
    network = "model.utility={kind: mlp, features: [amounts], groups: segment, hidden: [2]}"
    found = ask(uneven_groups, network, adam, SHORT)
    liking = found.result["liking"]
    north, south = (liking["by_group"][group] for group in ("north", "south"))
    assert (north["customers"], south["customers"], liking["customers"]) == (20, 60, 80)
    assert abs(north["mean"] - south["mean"]) > 0.02
    assert liking["mean"] == pytest.approx((north["mean"] + 3 * south["mean"]) / 4, rel=1e-6)
    assert found.result["score"] == pytest.approx(liking["mean"], rel=1e-5)


@pytest.mark.long
def test_outside_what_was_tasted_how_far_and_along_what(diamond: Path, ask: Answers) -> None:
    """The hull is |a − 2| + |b − 2| ≤ 1: the distance to it by SciPy, in ranges of 3.5."""
    found = ask(diamond)
    tasted, at = found.result["tasted"], np.array(list(found.result["recipe"].values()))
    assert np.abs(at - 2).sum() > 1
    nearest = _in_diamond(lambda x: np.sum((x - at) ** 2), (0.5, 4.0))
    assert (tasted["inside"], tasted["in"], tasted["recipes"]) == (False, "amounts", 9)
    assert tasted["distance"] == pytest.approx(np.linalg.norm(at - nearest) / 3.5, rel=1e-4)
    assert tasted["beyond"] == pytest.approx(dict(zip("ab", at - nearest, strict=True)), rel=1e-3)
    assert f"a {at[0] - nearest[0]:.3g} g more" in found.warnings["tasted"]
    rows = quadratic(DIAMOND)
    inverse = np.linalg.inv(40 * rows.T @ rows)
    row = quadratic(at[None])[0]
    assert tasted["leverage"] == pytest.approx(row @ inverse @ row, rel=1e-5)
    assert tasted["largest_tasted_leverage"] == pytest.approx(max(np.diag(rows @ inverse @ rows.T)), rel=1e-6)
    shares = DIAMOND_LIKES / 40
    assert tasted["best"] == {"recipe": f"r{shares.argmax()}", "liked": shares.max(), "responses": 40}
    assert found.result["liking"]["status"] == NOT_DETERMINED


def test_the_best_liked_is_that_of_all_who_tasted_held_out_or_not(diamond: Path) -> None:
    study = build_study(load(diamond, ["data.evaluation={share: 0.5, by: recipe}"]))
    assert study.panel is not None
    counted = tally(study.panel, study.group, ~study.panel.held_out, by_customer=True)
    best = int(DIAMOND_LIKES.argmax())
    assert best not in counted.recipe
    found = TastedRecipes(study, study.first_member["model"], counted, 4.0).best_liked()
    assert found == {"recipe": f"r{best}", "liked": DIAMOND_LIKES.max() / 40, "responses": 40}


@pytest.mark.long
@pytest.mark.parametrize("highest", [4.0, pytest.param(2.3, marks=pytest.mark.long)])
def test_the_best_inside_is_that_of_scipy_over_the_half_planes(diamond: Path, ask: Answers, highest: float) -> None:
    """With and without a bound that cuts the hull."""
    found = ask(diamond, *([] if highest == 4 else [f"ingredients.a.max={highest}"]))
    best = diamond_fit()
    chance = lambda x: float(expit(quadratic(x[None])[0] @ best.theta))
    expected = _in_diamond(lambda x: -chance(x), (0.5, highest))
    inside = found.result["tasted"]["best_inside"]
    point = np.array(list(inside["recipe"].values()))
    assert np.abs(point - 2).sum() <= 1 + 1e-9
    assert inside["liking"]["mean"] == pytest.approx(chance(expected), abs=1e-5)
    assert point == pytest.approx(expected, abs=5e-3)
    assert inside["liking"]["status"] == CHECKED
    assert inside["gap"] < 1e-5
    row = quadratic(point[None])[0]
    error = np.sqrt(row @ np.linalg.inv(best.information) @ row)
    assert inside["liking"]["logit_standard_error"] == pytest.approx(error, rel=1e-3)
    outside = np.array(list(found.result["recipe"].values()))
    assert chance(outside) >= chance(point)


def _in_diamond(loss: Callable[[np.ndarray], float], bounds_of_a: tuple[float, float]) -> np.ndarray:
    """The least of a function over the diamond within bounds, by SLSQP from several starts."""
    sides = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    ends = [
        minimize(
            loss,
            start,
            method="SLSQP",
            bounds=[bounds_of_a, (0.5, 4.0)],
            constraints={"type": "ineq", "fun": lambda x: 1 - sides @ (x - 2)},
            options={"ftol": 1e-14, "maxiter": 500},
        )
        for start in ([2.0, 2.0], [2.2, 2.4], [2.1, 1.5], [1.4, 2.1])
    ]
    return min(ends, key=lambda end: end.fun).x


def test_inside_what_was_tasted_the_answer_stands(diamond: Path, ask: Answers) -> None:
    found = ask(diamond, "ingredients.a.max=2.4", "ingredients.b.max=2.4")
    at = np.array(list(found.result["recipe"].values()))
    assert np.abs(at - 2).sum() < 1
    assert found.result["tasted"]["inside"] is True
    assert not {"best_inside", "distance", "beyond"} & set(found.result["tasted"])
    assert found.result["status"] == dict.fromkeys(("recipe", "score", "liking"), CHECKED)
    assert "warnings" not in found.result
    best = diamond_fit()
    assert found.result["liking"]["mean"] == pytest.approx(expit(quadratic(at[None])[0] @ best.theta), abs=1e-5)


# Predictions.


@pytest.mark.long
def test_held_out_recipes_are_scored_by_a_fit_of_the_others(two_groups: Path, ask: Answers) -> None:
    found = ask(two_groups, NEWTON, "data.evaluation={share: 0.3, by: recipe}")
    panel = found.study.panel
    assert panel is not None
    held = np.array([panel.held_out[panel.recipe == recipe].mean() for recipe in range(10)])
    assert set(held) == {0.0, 1.0}
    assert held.sum() == 3
    likes, held = np.array([MIXED, OTHERS], float), held == 1
    kept = [maximum(ROWS[~held], own[~held], np.full(7, 20.0)) for own in likes]
    chance = np.stack([expit(ROWS[held] @ one.theta) for one in kept])
    rate = likes[:, ~held].sum() / (2 * 7 * 20)
    for given, p in (
        (found.likelihood["held_out"], chance),
        (found.likelihood["held_out"]["null"], np.full_like(chance, rate)),
    ):
        liked, disliked = likes[:, held], 20 - likes[:, held]
        log_likelihood = np.sum(liked * np.log(p) + disliked * np.log1p(-p))
        assert given["log_likelihood"] == pytest.approx(log_likelihood, rel=1e-5)
        assert given["brier"] == pytest.approx(np.sum(liked * (1 - p) ** 2 + disliked * p**2) / 120, rel=1e-5)
        assert given["accuracy"] == pytest.approx(np.sum(np.where(p > 0.5, liked, disliked)) / 120, rel=1e-12)
    assert found.likelihood["held_out"]["by"] == "recipe"
    assert found.likelihood["responses"] == 280
    assert found.likelihood["log_likelihood"] == pytest.approx(sum(one.log_likelihood for one in kept), rel=1e-6)
    assert "chose_where_to_stop" not in found.likelihood["held_out"]


@pytest.mark.long
def test_a_split_that_chose_where_to_stop_is_declared(two_groups: Path, ask: Answers) -> None:
    adam = (
        "stages={fit: {kind: fit, length: 60, optimizer: {name: adam, learning_rate: 0.3}, "
        "evaluate: {every: 2, patience: 2}}}"
    )
    found = ask(two_groups, adam, "data.evaluation={share: 0.3}")
    assert found.likelihood["held_out"]["chose_where_to_stop"] == ["fit"]
    assert found.likelihood["held_out"]["by"] == "response"


def test_the_final_metrics_are_those_of_the_answer(uneven_groups: Path, ask: Answers) -> None:
    found = ask(uneven_groups)
    assert final_metrics(found.result) == {
        "final/score": found.result["score"],
        "final/liking": found.result["liking"]["mean"],
        "final/log_likelihood": found.likelihood["log_likelihood"],
        "final/delta": found.likelihood["certificate"]["delta"],
        "final/settled": 1.0,
    }
    assert final_metrics({}) == {}


# Metamorphic: what may not change an answer.


def _coefficients(found: Answered, key: str, group: str) -> Float64[np.ndarray, " 3"]:
    named = found.likelihood[key]["by_group"][group]
    return np.array([named["weights"]["sugar"], named["weights"]["butter"], named["bias"]])


def assert_alike(found: Answered, other: Answered) -> None:
    """The same P(like), statuses and place among what was tasted."""
    liking, others = found.result["liking"], other.result["liking"]
    for group in ("north", "south"):
        assert liking["by_group"][group]["mean"] == pytest.approx(others["by_group"][group]["mean"], rel=1e-5)
        assert liking["by_group"][group]["interval"] == pytest.approx(others["by_group"][group]["interval"], rel=1e-4)
    assert liking["mean"] == pytest.approx(others["mean"], rel=1e-5)
    assert found.result["status"] == other.result["status"]
    assert [(one["about"], one["status"]) for one in found.result["warnings"]] == [
        (one["about"], one["status"]) for one in other.result["warnings"]
    ]
    for key in ("inside", "recipes", "best"):
        assert found.result["tasted"][key] == other.result["tasted"][key]
    for key in ("distance", "leverage"):
        assert found.result["tasted"][key] == pytest.approx(other.result["tasted"][key], rel=1e-4)
    inside, others = found.result["tasted"]["best_inside"], other.result["tasted"]["best_inside"]
    assert inside["liking"]["mean"] == pytest.approx(others["liking"]["mean"], rel=1e-5)
    assert found.likelihood["log_likelihood"] == pytest.approx(other.likelihood["log_likelihood"], rel=1e-7)
    assert found.likelihood["certificate"]["status"] == other.likelihood["certificate"]["status"] == CHECKED


@pytest.mark.long
def test_grams_for_kilograms_change_the_coefficients_alone(two_groups: Path, folder: Path, ask: Answers) -> None:
    grams = {"sugar": [1000 * x for x in SUGAR], "butter": [1000 * x for x in BUTTER]}
    bounds = "{sugar: {min: 500, max: 2500, unit: g}, butter: {min: 1000, max: 2000, unit: g}}"
    tables = Tables(grams, {"north": MIXED, "south": OTHERS})
    found, other = ask(two_groups), ask(tables.write(folder / "grams", bounds, GROUPED))
    assert_alike(found, other)
    for key in ("parameters", "standard_errors", "robust_standard_errors"):
        for group in ("north", "south"):
            kilograms = _coefficients(found, key, group)
            assert _coefficients(other, key, group) * [1000, 1000, 1] == pytest.approx(kilograms, rel=1e-4)
    beyond, others = found.result["tasted"]["beyond"], other.result["tasted"]["beyond"]
    assert {name: 1000 * value for name, value in beyond.items()} == pytest.approx(others, rel=1e-3)


@pytest.mark.long
def test_the_order_of_the_ingredients_changes_nothing(two_groups: Path, folder: Path, ask: Answers) -> None:
    tables = Tables({"butter": BUTTER, "sugar": SUGAR}, {"north": MIXED, "south": OTHERS})
    bounds = "{butter: {min: 1, max: 2}, sugar: {min: 0.5, max: 2.5}}"
    found, other = ask(two_groups), ask(tables.write(folder / "permuted", bounds, GROUPED))
    assert_alike(found, other)
    for group in ("north", "south"):
        assert _coefficients(found, "parameters", group) == pytest.approx(
            _coefficients(other, "parameters", group), rel=1e-4
        )


@pytest.mark.long
def test_customers_twice_over_halve_the_variances(two_groups: Path, folder: Path, ask: Answers) -> None:
    once = Tables({"sugar": SUGAR, "butter": BUTTER}, {"north": MIXED, "south": OTHERS})
    twice = replace(
        once, likes={"north": [2 * x for x in MIXED], "south": [2 * x for x in OTHERS]}, customers=2 * once.customers
    )
    found, other = ask(two_groups), ask(twice.write(folder / "twice", BOUNDS, GROUPED), NEWTON)
    assert other.likelihood["log_likelihood"] == pytest.approx(2 * found.likelihood["log_likelihood"], rel=1e-7)
    assert other.likelihood["certificate"]["status"] == found.likelihood["certificate"]["status"]
    assert other.likelihood["certificate"]["condition"] == pytest.approx(
        found.likelihood["certificate"]["condition"], rel=1e-4
    )
    for group in ("north", "south"):
        assert _coefficients(other, "parameters", group) == pytest.approx(
            _coefficients(found, "parameters", group), rel=1e-4
        )
        assert _coefficients(other, "standard_errors", group) * np.sqrt(2) == pytest.approx(
            _coefficients(found, "standard_errors", group), rel=1e-4
        )
