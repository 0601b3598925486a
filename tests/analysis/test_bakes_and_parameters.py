"""Every bake is in the answer, and so are the parameters of what was fitted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from optim.analysis.verdicts import CHECKED
from optim.config.loading import load
from optim.runs.scalars import worth_table
from tests.analysis.studies import Tables
from tests.cli.test_tables import shown
from tests.helpers import run

TABLES = Tables(
    {"sugar": [0.5, 0.5, 1.0, 1.0, 2.0, 2.5], "butter": [1.0, 2.0, 1.0, 2.0, 1.5, 1.4]},
    {"all": [4, 9, 7, 12, 13, 17]},
)
BOUNDS = "{sugar: {min: 0.5, max: 2.5}, butter: {min: 1, max: 2, price: 1}}"
CHEAP = (
    "{kind: bake, length: 20, starts: 2, score: {kind: own, path: 'own.py:cheap'},"
    " optimizer: {name: sgd, learning_rate: 1}}"
)
OWN = """\
from flax import nnx
import jax.numpy as jnp

def cheap(recipe, customer):
    return recipe.amounts["sugar"] - recipe.cost

class Utility(nnx.Module):
    def __init__(self, features, groups, rngs):
        self.slope = nnx.Param(jnp.zeros(len(features)))
        self.level = nnx.Param(jnp.zeros(()))

    def __call__(self, features, group):
        return features @ self.slope[...] + self.level[...]
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = TABLES.write(tmp_path / "study", BOUNDS)
    (path.parent / "own.py").write_text(OWN)
    monkeypatch.chdir(path.parent)
    return path


def test_every_bake_is_in_the_answer_and_on_the_screen_under_its_own_name(study: Path) -> None:
    outcome = run(load(study, [f"stages.cheap={CHEAP}", "stages.bake.length=1"]), study.parent / "runs", "two")
    result = json.loads(outcome.directory.result.read_text())
    assert list(result["bakes"]) == ["bake", "cheap"]
    assert result["bakes"]["cheap"]["recipe"] == pytest.approx({"sugar": 2.5, "butter": 1.0})
    assert result["bakes"]["bake"]["recipe"]["butter"] > 1.0
    assert result["recipe"] == result["bakes"]["cheap"]["recipe"]  # the last one stands above, as it always did
    unsettled = "bakes.bake.score"  # after a single step
    assert unsettled in {one["about"] for one in result["warnings"]}
    assert "score" in {one["about"] for one in result["bakes"]["bake"]["warnings"]}
    assert "score" not in {one["about"] for one in result["bakes"]["cheap"]["warnings"]}
    assert next(one["text"] for one in result["warnings"] if one["about"] == unsettled).startswith("bake: the score")
    text = shown(result)
    first, second = text.split("The best recipe of bake")[1].split("The best recipe of cheap")
    assert "slope" in first
    assert "slope" not in second.split("What 20 customers like")[0]
    assert f"| bake: score | {result['bakes']['bake']['status']['score']} | |" in worth_table(result)
    assert result["bakes"]["bake"]["status"]["score"] != CHECKED


@pytest.mark.long
def test_parameters_of_an_own_utility_stand_in_the_answer_and_beside_it(study: Path) -> None:
    own = "model.utility={kind: own, path: 'own.py:Utility', features: [amounts]}"
    outcome = run(load(study, [own, "stages.bake.length=40"]), study.parent / "runs", "own")
    result = json.loads(outcome.directory.result.read_text())
    with np.load(outcome.directory.path / result["parameters_file"]) as arrays:
        found = dict(arrays)
    assert sorted(found) == [
        "features.center", "features.names", "features.scale", "utility.level", "utility.slope",
    ]  # fmt: skip
    named = {name: value for name, value in found.items() if name.startswith("utility.")}
    assert result["likelihood"]["parameters"] == {n: pytest.approx(value.tolist()) for n, value in named.items()}
    scaled = np.array([result["recipe"][name] for name in found["features.names"]]) - found["features.center"]
    utility = scaled / found["features.scale"] @ found["utility.slope"] + found["utility.level"]
    assert expit(utility) == pytest.approx(result["liking"]["mean"], abs=1e-6)
    assert f"utility.slope[1] │ {named['utility.slope'][1]:.4g}" in " ".join(shown(result).split())


@pytest.mark.long
def test_a_property_model_is_in_the_answer_and_a_large_network_beside_it_alone(study: Path) -> None:
    recipes = study.parent / "recipes.csv"
    sour = ["sour", "1", "2", "1.5", "2.5", "2", "1.9"]
    rows = recipes.read_text().splitlines()
    recipes.write_text("\n".join(f"{row},{value}" for row, value in zip(rows, sour, strict=True)) + "\n")
    config = load(
        study,
        [
            "model={properties: {kind: scheffe, columns: [sour], degree: 1},"
            " utility: {kind: mlp, features: [amounts], hidden: [60]}}",
            "stages={measure: {kind: fit, length: 2, loss: {kind: property_error}, optimizer: {name: newton}},"
            " fit: {kind: fit, length: 2, optimizer: {name: sgd, learning_rate: 0.1}}}",
        ],
    )
    outcome = run(config, study.parent / "runs", "network")
    assert outcome.result is not None
    (weights,) = outcome.result["property_parameters"].values()
    assert np.shape(weights) == (1, 2)
    assert "parameters" not in outcome.result["likelihood"]
    with np.load(outcome.directory.parameters) as arrays:
        assert sum(arrays[name].size for name in arrays if name.startswith("utility.")) > 200
        assert arrays["properties.weights"] == pytest.approx(np.array(weights))
    assert "The property model" in shown(outcome.result)
