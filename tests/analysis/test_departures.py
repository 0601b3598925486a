"""Ingredients that were the same in every tasted recipe and are held at something else: nobody knows what that does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from optim.analysis.departures import departures_of_liking
from optim.analysis.fit_findings import Examiners
from optim.analysis.forewarnings import forewarnings
from optim.analysis.verdicts import CHECKED, NOT_KNOWN
from optim.config.loading import load
from optim.study.study import build_study
from tests.analysis.studies import Answers, Tables

SUGAR = [0.5, 1.0, 1.5, 2.0, 2.5, 1.2, 0.8]
LIKES = [3, 8, 12, 11, 16, 7, 9]
OWN = """\
import jax.numpy as jnp
from flax import nnx


class Sour(nnx.Module):
    names = ("sour",)

    def __init__(self, ingredients, rngs):
        self.index = ingredients.index(self.ingredient)
        self.slope = nnx.Param(jnp.zeros(()))

    def __call__(self, amounts):
        return (self.slope[...] * amounts[self.index])[None] + amounts[0]


class OfButter(Sour):
    ingredient = "butter"


class OfSugar(Sour):
    ingredient = "sugar"


class Taste(nnx.Module):
    def __init__(self, features, groups, rngs):
        self.weights = nnx.Param(jnp.zeros(self.reads))

    def __call__(self, features, group):
        return jnp.tanh(jnp.sum(self.weights[...] * features[: self.reads]))


class OfBoth(Taste):
    reads = 2


class OfFirst(Taste):
    reads = 1
"""

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def ask() -> Answers:
    """Answers of studies, each trained once."""
    return Answers()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A study of sugar and butter, which was always 2, or a share of the sugar; fixed at something."""

    def made(model: str, fixed: float, butter: float | None = 2.0, total: float | None = None) -> Path:
        amounts = {"sugar": SUGAR, "butter": [sugar if butter is None else butter for sugar in SUGAR]}
        amounts["sour"] = [3.0, 2.0, 4.0, 5.0, 1.0, 2.5, 3.5]
        bounds = f"{{sugar: {{min: 0.5, max: 2.5}}, butter: {{fixed: {fixed}, unit: g}}}}"
        config = Tables(amounts, {"all": LIKES}, total=total).write(tmp_path / "study", bounds, model)
        (config.parent / "own.py").write_text(OWN)
        return config

    return made


def said(config: Path, *overrides: str) -> list[tuple[str, str]]:
    """What is said before training of what is not known."""
    found = forewarnings(Examiners(build_study(load(config, list(overrides)))))
    return [(one.about, one.text) for one in found if one.status == NOT_KNOWN]


TEXT = (
    "P(like) of this recipe: butter is held at 5 g and was 2 g in every tasted recipe: what the difference does is not "
    "known; fix it there, or have recipes tasted that differ"
)
LINEAR = "{utility: {kind: linear, features: [amounts]}}"
MEASURED = "utility: {kind: linear, features: [sour]}"


WELL = "ingredients.butter.fixed=2"
"""Held at what was tasted."""
OWN_SOUR = "properties: {kind: own, path: 'own.py:%s'}"


@pytest.mark.parametrize(
    "model",
    [
        LINEAR,
        "{utility: {kind: linear, features: [amounts], intercept: false}}",
        "{utility: {kind: mlp, features: [amounts], hidden: [1]}}",
        "{utility: {kind: own, path: 'own.py:OfBoth', features: [amounts]}}",
        f"{{{OWN_SOUR % 'OfButter'}, {MEASURED}}}",
    ],
)
def test_it_is_said_before_training_whatever_the_model(write: Write, model: str) -> None:
    config = write(model, 5.0)
    assert ("liking", TEXT) in said(config)
    assert said(config, WELL) == []
    assert said(config, "ingredients.butter.fixed=2.0000001") == []  # but for rounding


@pytest.mark.parametrize(
    "model",
    [
        "{utility: {kind: own, path: 'own.py:OfFirst', features: [amounts]}}",
        f"{{{OWN_SOUR % 'OfSugar'}, {MEASURED}}}",
    ],
)
def test_a_model_of_the_user_s_own_that_does_not_read_the_ingredient_is_not_suspected(write: Write, model: str) -> None:
    assert said(write(model, 5.0)) == []


def test_fractions_of_a_constant_amount_vary(write: Write) -> None:
    """Butter was always 2, but from 44 to 80 % of the whole: what its share does is known. (Held at 5 beside a total,
    it leaves a single recipe to bake.)"""
    found = said(write("{utility: {kind: linear, features: [fractions]}}", 5.0, total=6.5))
    assert [place for place, _ in found] == ["stages.bake"]


def test_a_constant_fraction_is_compared_with_that_of_the_recipe(tmp_path: Path) -> None:
    """Half of every recipe was butter, whatever its total. Without one the recipe's share is known only in the end."""
    size = [1.0, 2.0, 1.5, 1.0, 3.0, 2.0, 1.2]
    shares = {"sugar": SUGAR, "flour": [3 - sugar for sugar in SUGAR], "butter": [3.0] * 7}
    amounts = {name: [s * v for s, v in zip(size, values, strict=True)] for name, values in shares.items()}
    bounds = "{sugar: {min: 0, max: 6}, flour: {min: 0, max: 6}, butter: {fixed: 5}}"
    model = "{utility: {kind: linear, features: [fractions]}}"
    config = Tables(amounts, {"all": LIKES}).write(tmp_path / "study", bounds, model)
    assert said(config) == said(config, "total=10") == []
    ((about, text),) = said(config, "total=8")
    assert about == "liking"
    assert "butter is held at 0.625 of the total and was 0.5 of the total in every tasted recipe" in text
    study = build_study(load(config))
    member = study.first_member["model"]
    assert departures_of_liking(study, member, np.array([2.0, 3.0, 5.0])) == ()
    assert [one.held for one in departures_of_liking(study, member, np.array([2.0, 1.0, 5.0]))] == [0.625]


@pytest.mark.long
def test_no_probability_is_given_and_the_score_that_reads_it_is_not_known(write: Write, ask: Answers) -> None:
    config = write("{utility: {kind: linear, features: [amounts], intercept: false}}", 5.0)
    result = ask(config).result
    assert result["liking"] == {
        "scale": "probability",
        "status": NOT_KNOWN,
        "customers": 20,
        "reason": TEXT.removeprefix("P(like) of this recipe: "),
    }
    assert "score" not in result
    assert result["status"] == {"recipe": NOT_KNOWN, "score": NOT_KNOWN, "liking": NOT_KNOWN}
    assert [one["text"] for one in result["warnings"] if one["about"] == "liking"] == [TEXT]


@pytest.mark.long
def test_a_probability_is_given_where_it_is_held_at_what_was_tasted(write: Write, ask: Answers) -> None:
    config = write("{utility: {kind: linear, features: [amounts], intercept: false}}", 5.0)
    assert ask(config, WELL).result["status"]["liking"] == CHECKED


NETWORK = "properties: {kind: mlp, columns: [sour], hidden: [1]}"
MEASURE = "measure: {kind: fit, length: 3, loss: {kind: property_error}, optimizer: {name: newton}}"
BAKE = "kind: bake, length: 4, starts: 2, optimizer: {name: adam, learning_rate: 0.05}"


def test_p_like_of_fitted_properties_is_not_known_either(write: Write) -> None:
    config = write(f"{{{NETWORK}, {MEASURED}}}", 5.0)
    fit = "fit: {kind: fit, length: 3, optimizer: {name: newton}}"
    stages = f"stages={{{MEASURE}, {fit}, bake: {{{BAKE}, score: {{kind: liking}}}}}}"
    assert ("liking", TEXT) in said(config, stages)
    assert said(config, stages, WELL) == []


OF_PROPERTIES = (
    f"stages={{{MEASURE}, bake: {{{BAKE}, score: {{kind: deliciousness, targets: {{sour: 2}}, cost_weight: 0}}}}}}"
)


@pytest.mark.long
def test_nor_are_the_properties_themselves_and_a_score_of_them(write: Write, ask: Answers) -> None:
    """Without a utility there is no P(like)."""
    found = ask(write(f"{{{NETWORK}}}", 5.0), OF_PROPERTIES)
    assert "butter is held at 5 g and was 2 g in every tasted recipe" in found.warnings["properties"]
    assert found.result["status"] == {"recipe": NOT_KNOWN, "score": NOT_KNOWN}


@pytest.mark.long
def test_properties_are_known_where_it_is_held_at_what_was_tasted(write: Write, ask: Answers) -> None:
    assert "properties" not in ask(write(f"{{{NETWORK}}}", 5.0), OF_PROPERTIES, WELL).warnings
