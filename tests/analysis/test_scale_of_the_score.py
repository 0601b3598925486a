"""What does not change which cake is best changes nothing of what is said of it; what precision cannot hold is said."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from optim.analysis.answer import ended
from optim.analysis.best_inside import Inside
from optim.analysis.chosen_end import ChosenEnd
from optim.analysis.verdicts import NOT_SETTLED
from optim.config.loading import load
from optim.config.numbers import resolved
from optim.study.stage import initial_state
from optim.study.state import Ended
from optim.study.study import build_study
from tests.analysis.studies import Answers
from tests.analysis.test_best_inside import ANYTHING, TRIANGLE, found, round_peak
from tests.cli.test_tables import line, shown

PRICED = """\
precision: float64
ingredients: {flour: {min: 1, max: 3, price: 1}, sugar: {min: 0.5, max: 2.5}, salt: {fixed: 1, price: 0}}
model: {}
stages:
  bake: {kind: bake, length: 8, starts: 3, score: {kind: own, path: "own.py:priced"},
         optimizer: {name: adam, learning_rate: 0.03}}
"""
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


def priced(recipe, customer):
    return -(recipe.amounts["flour"] - 2) ** 2 - (recipe.amounts["sugar"] - 1.7) ** 2 - 0.01 * recipe.cost
"""


def study(folder: Path, text: str, code: str) -> Path:
    """A study with code of its own beside it."""
    (folder / "own.py").write_text(code)
    (folder / "study.yaml").write_text(text.replace("own.py", f"{folder}/own.py"))
    return folder / "study.yaml"


@pytest.mark.long
@pytest.mark.usefixtures("float64")
def test_the_price_of_a_fixed_ingredient_certifies_no_unfinished_bake(tmp_path: Path) -> None:
    config, answers = study(tmp_path, PRICED, SCORE), Answers()
    free, dear = (answers(config, f"ingredients.salt.price={price}").result for price in ("0", "1e7"))
    assert free["score"] - dear["score"] == pytest.approx(1e5)
    assert free["recipe"] == pytest.approx(dear["recipe"], abs=1e-9)
    for key in ("agreeing", "stationary", "active"):
        assert free["certificate"][key] == dear["certificate"][key]
    assert (dear["certificate"]["stationary"], dear["certificate"]["agreeing"]) == (False, 1)
    assert free["status"] == dear["status"] == {"recipe": NOT_SETTLED, "score": NOT_SETTLED}


@pytest.mark.long
@pytest.mark.parametrize(
    ("level", "said"),
    [
        (30000.0, "density of recipes that are allowed goes from 30000.1"),
        pytest.param(1e9, "density is 1e+09 at every recipe, although it has slopes: single", marks=pytest.mark.long),
        pytest.param(3.0, "", marks=pytest.mark.long),
    ],
)
def test_a_property_of_which_single_precision_keeps_too_little_is_told(tmp_path: Path, level: float, said: str) -> None:
    config = study(tmp_path, STUDY, DENSITY.replace("LEVEL", repr(level)))
    found = Answers()(config, f"stages.bake.score.targets.density={level + 0.2431!r}")
    warning = found.warnings.get("score", "")
    assert said in warning
    assert ("set precision: float64" in warning) is bool(said)
    if said:
        assert found.result["status"] == {"recipe": NOT_SETTLED, "score": NOT_SETTLED}
    if level == 30000:
        assert line(shown(found.result), "density").split(" │ ")[1].startswith("30000.2")  # and not 30000


@pytest.mark.parametrize(
    ("value", "width", "text"),
    [(30000.24308, 0.2, "30000.2431"), (14287.04, 3000.0, "14287"), (0.5, 0.0, "0.5"), (0.0, 2.0, "0"),
     (np.float32(30000.242), 0.2, "30000.242"), (-1.25, math.inf, "-1.25"), (9.87654, 1e6, "9.877")],
)  # fmt: skip
def test_a_number_has_the_digits_that_resolve_what_it_differs_by(value: float, width: float, text: str) -> None:
    assert resolved(value, width) == text


@pytest.mark.long
def test_settings_and_what_is_said_of_a_spread_have_the_digits_of_their_range(tmp_path: Path) -> None:
    found = Answers()(study(tmp_path, KELVIN, SCORE), "ingredients.flour={min: 13000.5, max: 13003.5}")
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


def test_a_stage_that_was_ended_at_its_best_checkpoint_is_not_said_to_have_stopped_early(tmp_path: Path) -> None:
    built = build_study(load(study(tmp_path, PRICED, SCORE), ["precision=float32"]))
    (stage,), state = built.stages, initial_state(built.parameters)
    state = state._replace(ended={stage.name: Ended(None, {}, jnp.int32(30), jnp.int32(12))})
    chosen = ChosenEnd("base", "bake/eval/loss", 30, 0.57646)
    assert ended(stage, state, chosen) == "stage bake stopped at step 30, where its held-out loss was lowest (0.57646)"
    assert ended(stage, state, ChosenEnd("base", "fit/train/loss", 30, 0.5)) == ended(stage, state, None) == ""
    patient = replace(stage, patience=3, evaluation=stage.objective, evaluate_every=1)  # of several evaluations
    back = "then back to step 12, where the held-out loss was lowest"
    assert ended(replace(patient, length=90), state, None) == f"early stopping at step 30 of 90, {back}"
    assert ended(replace(patient, length=30), state, None) == f"trained for all 30 steps, {back}"
    choosy = stage.fixed._replace(min_improvement=jnp.float32(0.02))
    least = ended(replace(patient, length=30, fixed=choosy), state, None)
    assert least.endswith("the last to lower the held-out loss by more than 0.02")
    assert ended(replace(patient, length=12), state, None) == ""
    assert ended(patient, state, chosen) == ended(stage, state, chosen)
