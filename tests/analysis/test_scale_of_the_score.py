"""What does not change which cake is best changes nothing of what is said of it; what precision cannot hold is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from optim.analysis.best_inside import Inside
from optim.analysis.verdicts import NOT_SETTLED
from tests.analysis.studies import Answered, Answers, Tables
from tests.analysis.test_best_inside import ANYTHING, TRIANGLE, found, round_peak
from tests.cli.test_tables import line, shown

TABLES = Tables(
    {
        "sugar": [0.5, 0.5, 1.0, 1.0, 2.0, 2.5, 1.5],
        "butter": [1.0, 2.0, 1.0, 2.0, 1.5, 1.4, 1.8],
        "salt": [1.0] * 7,
    },
    {"all": [4, 9, 13, 15, 12, 6, 16]},
)
DENSITY = """\
from flax import nnx
import jax.numpy as jnp

class Dense(nnx.Module):
    def __init__(self, ingredients, rngs):
        self.names = ("density",)

    def __call__(self, amounts):
        return jnp.stack([LEVEL + 0.1 * amounts[0]])
"""
STUDY = """\
ingredients: {flour: {min: 1, max: 3}, water: {min: 0.5, max: 2.5}}
total: 3.5
model: {properties: {kind: own, path: "own.py:Dense"}}
stages:
  bake:
    {kind: bake, length: 5, starts: 2, score: {kind: deliciousness, targets: {density: 30000.2431}, cost_weight: 0},
     optimizer: {name: adam, learning_rate: 0.03}}
"""
KELVIN = """\
precision: float64
ingredients: {flour: {min: 13000, max: 13004}, sugar: {min: 0.5, max: 2.5}}
settings:
  kelvin: {min: 310, max: 310.5}
  phase: {min: -2, max: 2, complex: true}
  big: {min: 1000000, max: 1000010}
model: {}
stages:
  bake:
    {kind: bake, length: 1, score: {kind: own, path: "own.py:score"}, optimizer: {name: sgd, learning_rate: 0.0},
     starts: [{flour: 13001, sugar: 1.25, kelvin: 310.23451, phase: [0.5, -1.25], big: 1000002.6},
              {flour: 13003, sugar: 1.25, kelvin: 310.23451, phase: [0.5, -1.25], big: 1000002.6}]}
"""
SCORE = """\
def score(recipe, customer):
    s = recipe.settings
    away = abs(recipe.amounts["flour"] - 13002) - 1
    return -away**2 - (recipe.amounts["sugar"] - 1.25) ** 2 - abs(s["phase"] - (0.5 - 1.25j))
"""


def judged(answered: Answered) -> dict[str, Any]:
    """The certificate's verdicts, and what is not settled."""
    certificate = answered.result["certificate"]
    verdicts = {key: certificate[key] for key in ("agreeing", "stationary", "active")}
    return verdicts | {"status": answered.result["status"]}


@pytest.mark.usefixtures("float64")
def test_the_price_of_a_fixed_ingredient_certifies_no_unfinished_bake(tmp_path: Path) -> None:
    bounds = "{sugar: {min: 0.5, max: 2.5}, butter: {min: 1, max: 2, price: 1}, salt: {fixed: 1, price: PRICE}}"
    score = "stages.bake.score={kind: liking, cost_weight: 0.01}"
    both = []
    for price in ("0", "100000"):
        config = TABLES.write(tmp_path / price, bounds.replace("PRICE", price))
        both.append(Answers()(config, "precision=float64", score, "stages.bake.length=8"))
    free, dear = both
    assert judged(free) == judged(dear)
    assert free.result["recipe"] == pytest.approx(dear.result["recipe"], abs=1e-6)
    assert free.result["certificate"]["stationary"] is False
    assert free.result["status"]["score"] == NOT_SETTLED


def dense(folder: Path, level: float, *overrides: str) -> Answered:
    folder.mkdir()
    (folder / "own.py").write_text(DENSITY.replace("LEVEL", repr(level)))
    (folder / "study.yaml").write_text(STUDY.replace("own.py", f"{folder}/own.py"))
    return Answers()(folder / "study.yaml", f"stages.bake.score.targets.density={level + 0.2431!r}", *overrides)


def test_a_property_of_which_single_precision_keeps_too_little_is_told(tmp_path: Path) -> None:
    fine, coarse, gone = (dense(tmp_path / f"{level:g}", level) for level in (3.0, 30000.0, 1e9))
    assert "single precision" not in fine.warnings.get("score", "")
    assert "density of recipes that are allowed goes from 30000.1" in coarse.warnings["score"]
    assert "set precision: float64" in coarse.warnings["score"]
    assert "density is 1e+09 at every recipe, although it has slopes: single" in gone.warnings["score"]
    for one in (coarse, gone):
        assert one.result["status"] == {"recipe": NOT_SETTLED, "score": NOT_SETTLED}
    assert "30000.2" in line(shown(coarse.result), "density")  # and not 30000


def test_settings_and_what_is_said_of_a_spread_have_the_digits_of_their_range(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(SCORE)
    (tmp_path / "study.yaml").write_text(KELVIN.replace("own.py", f"{tmp_path}/own.py"))
    found = Answers()(tmp_path / "study.yaml", "ingredients.flour={min: 13000.5, max: 13003.5}")
    text = shown(found.result)
    told = {name: line(text, name).split(" │ ")[1] for name in ("kelvin", "big", "phase")}
    assert told == {"kelvin": "310.2345", "big": "1000002.6", "phase": "0.5 - 1.25i"}
    assert found.warnings["recipe.flour"].startswith("flour is anything from 13001 to 13003 among")


def test_the_slope_of_a_saturated_score_is_shown_as_that_of_its_logit() -> None:
    certificate = {
        "starts": 4, "agreeing": 4, "max_violation": 0.0, "stationarity": 0.0, "stationary": False, "active": [],
        "logit_stationarity": 3.45e29,
    }  # fmt: skip
    status = dict.fromkeys(("recipe", "score"), NOT_SETTLED)
    text = shown({"recipe": {"butter": 1.0}, "units": {}, "score": 1.0, "certificate": certificate, "status": status})
    assert line(text, "slope") == (
        "slope │ 3.45e+29 │ │ of the logit of P(like), per range of an ingredient: not a peak yet"
    )


@pytest.mark.parametrize("level", [0.0, 1e6])
@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_the_best_recipe_inside_is_the_same_whatever_is_added_to_its_score(factor: float, level: float) -> None:
    plain = round_peak(3.0, 4.0)

    def other(point: Any) -> tuple[float, Any]:
        score, slope = plain(point)
        return factor * (score + level), factor * slope

    def search(score: Any) -> Inside:
        return found(score, TRIANGLE, ANYTHING, [3.0, 3.0])

    assert search(other).point == pytest.approx([1.5, 2.5], abs=1e-4)
    assert search(other).agreeing == search(plain).agreeing
