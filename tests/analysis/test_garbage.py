"""What training at absurd rates, or of a loss without a lower bound, comes to is marked wherever it is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from optim.analysis.verdicts import NOT_SETTLED
from optim.runs.scalars import worth_table
from tests.analysis.studies import Answers, Tables
from tests.cli.test_tables import shown

TABLES = Tables(
    {"sugar": [0.5, 0.5, 1.0, 1.0, 2.0, 2.5], "butter": [1.0, 2.0, 1.0, 2.0, 1.5, 1.4]},
    {"all": [4, 9, 7, 12, 13, 17]},
)
OWN = """\
import jax.numpy as jnp

def score(recipe, customer):
    a = recipe.amounts
    return jnp.exp(-20 * ((a["sugar"] - 1.3) ** 2 + (a["butter"] - 1.6) ** 2))

def loss(utility, like):
    return -(like + 0.1) * utility
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = TABLES.write(tmp_path / "study", "{sugar: {min: 0.5, max: 2.5}, butter: {min: 1, max: 2}}")
    (path.parent / "own.py").write_text(OWN)
    monkeypatch.chdir(path.parent)
    return path


def test_a_corner_that_a_huge_step_jumped_to_is_no_peak_although_all_starts_agree(study: Path) -> None:
    """The peak has the score 1; the corners have 3e-4 at most, and hardly a slope."""
    bake = "{kind: bake, length: 3, starts: 4, score: {kind: own, path: 'own.py:score'}, optimizer: OPTIMIZER}"
    huge = bake.replace("OPTIMIZER", "{name: sgd, learning_rate: 1.0e+38}")
    found = Answers()(study, "model={}", f"stages={{bake: {huge}}}")
    certificate = found.result["certificate"]
    assert (certificate["agreeing"], certificate["stationary"]) == (4, True)
    assert found.result["score"] < 1e-3 < certificate["higher_elsewhere"] <= 1
    assert found.result["status"] == {"recipe": NOT_SETTLED, "score": NOT_SETTLED}
    assert "training has gone past the peak" in found.warnings["score"]
    text = " ".join(shown(found.result).split())
    assert "The best recipe (not settled)" in text
    assert "4 of 4 starts agree: not settled, as a recipe that nobody trained scores 0." in text
    assert "| score | not settled | training has gone past the peak" in worth_table(found.result)


def test_a_fit_at_an_absurd_rate_has_not_settled_and_says_nothing(study: Path) -> None:
    fit = "{kind: fit, length: 5, optimizer: {name: adam, learning_rate: 1.0e+30}}"
    found = Answers()(study, f"stages={{fit: {fit}}}")
    certificate = found.likelihood["certificate"]
    assert (certificate["settled"], certificate["status"]) == (False, NOT_SETTLED)
    assert "delta" not in certificate
    assert "standard_errors" not in found.likelihood
    said = "one rate for all has -0.6926: the coefficients say nothing"  # 62 likes of 120
    assert said in certificate["text"]
    assert said in found.warnings["stages.fit"]
    text = " ".join(shown(found.result).split())
    assert "e+31 (not settled) over 120 responses" in text
    assert "not settled: the log-likelihood is -" in text


@pytest.mark.parametrize("rate", ["0.1", "1.0e+30"])
def test_a_loss_without_a_lower_bound_has_not_settled(study: Path, rate: str) -> None:
    """Its mean slope by the constant is −(62 + 12) / 120 wherever training comes to."""
    optimizer = f"{{name: adam, learning_rate: {rate}}}"
    fit = f"{{kind: fit, length: 40, loss: {{kind: own, path: 'own.py:loss'}}, optimizer: {optimizer}}}"
    found = Answers()(study, f"stages={{fit: {fit}}}")
    certificate = found.likelihood["certificate"]
    assert (certificate["settled"], certificate["status"]) == (False, NOT_SETTLED)
    assert certificate["gradient_norm"] > 74 / 120
    assert "the loss is -" in certificate["text"]
    assert "does not bend upwards: has it a lower bound?" in found.warnings["stages.fit"]
    assert "newton" not in found.warnings["stages.fit"]
    assert "(not settled) over 120 responses" in " ".join(shown(found.result).split())


def test_newton_is_not_advised_for_a_loss_that_does_not_bend(study: Path) -> None:
    fit = "{kind: fit, length: 3, loss: {kind: own, path: 'own.py:loss'}, optimizer: {name: newton}}"
    said = Answers()(study, f"stages={{fit: {fit}}}").warnings["stages.fit"]
    assert said.endswith("newton has no use for such a loss: take adam, with a learning rate")
