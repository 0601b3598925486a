"""Numbers of which single precision keeps too little are named before training, with the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from optim.analysis.fit_findings import Examiners
from optim.analysis.forewarnings import forewarnings
from optim.analysis.verdicts import NOT_SETTLED
from optim.config.errors import UserError
from optim.config.loading import load
from optim.study.precision import set_precision
from optim.study.study import build_study
from tests.analysis.studies import Tables

SUGAR = [0.5, 1.0, 1.5, 2.0, 2.5, 1.2, 0.8]
STEPS = [0.0, 0.05, 0.2, 0.1, 0.15, 0.02, 0.13]
LIKES = [3, 8, 12, 11, 16, 7, 9]
BAKE = "kind: bake, length: 4, starts: 2, optimizer: {name: adam, learning_rate: 0.05}"
FORMULA = """\
ingredients: {butter: {max: 4}, eggs: {max: 6}, flour: {max: 4}, sugar: {max: 4}, %s}
model: {properties: {kind: bakery}}
stages:
  bake: {kind: bake, length: 3, score: {kind: deliciousness}, optimizer: {name: adam, learning_rate: 0.05}}
"""


def said(config: Path, *overrides: str) -> dict[str, str]:
    """What is not settled, by what it is about."""
    study = build_study(load(config, list(overrides)))
    return {one.about: one.text for one in forewarnings(Examiners(study)) if one.status == NOT_SETTLED}


def tables(folder: Path, level: float, bounds: str, **more: object) -> Path:
    recipes = {"sugar": SUGAR, "butter": [level + step for step in STEPS]}
    return Tables(recipes, {"all": LIKES}, **more).write(folder / "study", bounds)  # type: ignore[arg-type]


def formula(folder: Path, ingredient: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(FORMULA % ingredient)
    return path


def test_a_range_of_a_fifth_at_a_level_of_30000(tmp_path: Path) -> None:
    """The spacing of single precision there is 1/512: about 56 steps of ε × 30,000."""
    config = formula(tmp_path, "salt: {min: 30000, max: 30000.2}")
    assert said(config) == {
        "ingredients.salt": "salt goes from 30000 to 30000.2: single precision has about 56 steps in this range, and "
        "an answer needs 10,000; set precision: float64"
    }
    assert said(config, "precision=float64") == {}
    assert said(config, "ingredients.salt.max=30050") == {}


def test_a_setting_and_both_parts_of_a_complex_one(tmp_path: Path) -> None:
    config = formula(tmp_path, "salt: {max: 1}")
    (tmp_path / "own.py").write_text(
        "def score(recipe, customer):\n    return -recipe.settings['oven'] - abs(recipe.settings['phase'])\n"
    )
    score = f"stages.bake.score={{kind: own, path: {tmp_path}/own.py:score}}"
    settings = "settings={oven: {min: 5000, max: 5001}, phase: {min: -9000, max: -8999, complex: true}}"
    assert set(said(config, settings, score)) == {"settings.oven", "settings.phase"}


def test_a_total_beside_a_small_range(tmp_path: Path) -> None:
    config = formula(tmp_path, "acid: {max: 0.01}, water: {max: 100000}")
    assert said(config) == {}
    assert "the total is 100000 beside the range of acid, 0.01" in said(config, "total=100000")["total"]
    assert said(config, "total=5") == {}


def test_tasted_amounts(tmp_path: Path) -> None:
    """A wide range does not help where all that was tasted lies close together."""
    config = tables(tmp_path, 30000.0, "{sugar: {min: 0.5, max: 2.5}, butter: {min: 20000, max: 40000}}")
    found = said(config)
    assert set(found) == {"ingredients.butter"}
    assert found["ingredients.butter"].startswith("butter of the tasted recipes goes from 30000 to 30000.2: single")
    assert said(config, "precision=float64") == {}


def test_a_measured_property(tmp_path: Path) -> None:
    recipes = {"sugar": SUGAR, "density": [30000.0 + step for step in STEPS]}
    model = "{properties: {kind: scheffe, columns: [density]}}"
    config = Tables(recipes, {"all": LIKES}).write(tmp_path / "study", "{sugar: {min: 0.5, max: 2.5}}", model)
    fit = "stages={fit: {kind: fit, length: 3, loss: {kind: property_error}, optimizer: {name: newton}}}"
    assert set(said(config, fit)) == {"data.recipes.density"}


def test_a_column_of_the_customers_that_a_target_reads(tmp_path: Path) -> None:
    config = tables(tmp_path, 0.0, "{sugar: {min: 0.5, max: 2.5}, butter: {min: 0, max: 2}}")
    customers = config.parent / "customers.csv"
    lines = customers.read_text().splitlines()
    column = ["wish", *(f"{30000 + 0.01 * k}" for k in range(len(lines) - 1))]
    customers.write_text("\n".join(f"{line},{cell}" for line, cell in zip(lines, column, strict=True)))
    (config.parent / "own.py").write_text(
        "def score(recipe, customer):\n    return -(recipe.amounts['butter'] - customer.columns['wish']) ** 2\n"
    )
    score = f"stages.bake={{{BAKE}, score: {{kind: own, path: {config.parent}/own.py:score, columns: [wish]}}}}"
    assert set(said(config, score)) == {"data.customers.wish"}


@pytest.mark.usefixtures("float64")
def test_what_only_double_precision_tells_apart_is_learned_in_it(tmp_path: Path) -> None:
    """In single precision such a feature is refused as a constant, with the reason."""
    config = tables(tmp_path, 3e6, "{sugar: {min: 0.5, max: 2.5}, butter: {min: 0, max: 4e6}}")
    double = load(config, ["precision=float64"])
    set_precision(double)
    assert forewarnings(Examiners(build_study(double))) == ()
    single = load(config)
    set_precision(single)
    with pytest.raises(UserError, match=r"butter is the same in every tasted recipe to single precision.*float64"):
        build_study(single)
