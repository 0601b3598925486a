"""What only a call of the user's own code tells: that it reads what nothing has fitted, or a cost that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from optim.config.errors import UserError
from optim.config.loading import load
from optim.study.study import build_study
from tests.analysis.studies import Tables

MEASURE = "stages.measure={kind: fit, length: 1, loss: {kind: property_error}, optimizer: {name: newton}}"
FIT = "stages.fit={kind: fit, length: 1, optimizer: {name: newton}}"
BAKE = "stages.bake={kind: bake, length: 1, starts: 1, score: SCORE, optimizer: {name: sgd, learning_rate: 0.1}}"
OWN = BAKE.replace("SCORE", "{kind: own, path: 'own.py:score'}")


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tables with a measured property, and a config with nothing but a model."""
    tables = Tables({"gin": [1, 2, 3, 4], "lime": [1, 3, 2, 1]}, {"a": [3, 6, 9, 12]})
    model = "{properties: {kind: scheffe, columns: [sour]}, utility: {kind: linear, features: [amounts]}}"
    path = tables.write(tmp_path / "study", "{gin: {max: 4}, lime: {max: 4}}", model)
    recipes = path.parent / "recipes.csv"
    rows = recipes.read_text().splitlines()
    sour = ["sour", "1", "2", "4", "3"]
    recipes.write_text("\n".join(f"{row},{value}" for row, value in zip(rows, sour, strict=True)) + "\n")
    path.write_text(path.read_text().split("stages:")[0])
    monkeypatch.chdir(path.parent)  # where the paths of overrides begin
    return path


def own_score(study: Path, reads: str) -> None:
    (study.parent / "own.py").write_text(f"def score(recipe, customer):\n    return {reads}\n")


@pytest.mark.parametrize(
    ("reads", "before", "lacks"),
    [
        ("recipe.liking", MEASURE, "reads P(like), and no utility was fitted: put a fit stage that trains it before"),
        ("recipe.properties['sour']", FIT, "reads properties that nothing has fitted: put a fit stage with `loss: "),
    ],
)
def test_a_score_of_the_users_own_reads_what_was_fitted(study: Path, reads: str, before: str, lacks: str) -> None:
    own_score(study, reads)
    with pytest.raises(UserError) as caught:
        build_study(load(study, [before, OWN]))
    assert str(caught.value).startswith(f"stages.bake.score: {lacks}")
    build_study(load(study, [MEASURE, FIT, OWN]))


def test_a_score_of_the_users_own_may_leave_the_model_alone(study: Path) -> None:
    own_score(study, "recipe.amounts['gin']")
    build_study(load(study, [OWN]))


PROPERTIES = """\
import jax.numpy as jnp
from flax import nnx


class Own(nnx.Module):
    def __init__(self, ingredients, rngs):
        self.names = ("sour",)

    def __call__(self, amounts):
        return jnp.stack([amounts[0]])
"""


@pytest.mark.parametrize(
    "score", ["{kind: deliciousness, targets: {sour: 1}}", "{kind: liking, cost: property, cost_weight: 1}"]
)
def test_a_cost_that_the_users_own_model_has_not_is_refused(study: Path, score: str) -> None:
    (study.parent / "own.py").write_text(PROPERTIES)
    model = "model.properties={kind: own, path: 'own.py:Own'}"
    with pytest.raises(UserError, match=r"stages\.bake\.score\.cost: there is no property `cost`: use `cost: prices`"):
        build_study(load(study, [model, FIT, BAKE.replace("SCORE", score)]))
    (study.parent / "own.py").write_text(PROPERTIES.replace("sour", "cost"))
    build_study(load(study, [model, FIT, BAKE.replace("SCORE", score.replace("sour", "cost"))]))
