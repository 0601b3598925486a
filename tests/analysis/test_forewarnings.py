"""What is said before anything is trained: what the data cannot determine, who was never asked, idle settings."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from optim.analysis.design import Design, design_of
from optim.analysis.fit_findings import Examiners
from optim.analysis.forewarnings import forewarnings
from optim.analysis.verdicts import NOT_DETERMINED, NOT_KNOWN, NOT_SETTLED, Caveat
from optim.config.loading import load
from optim.study.study import build_study
from tests.analysis.studies import GROUPED, LINEAR, Tables

CONFIGS = Path(__file__).parent.parent.parent / "configs"
BOUNDS = "{sugar: {min: 0.5, max: 2.5}, butter: {min: 1, max: 2}}"
RECIPES = {"sugar": [0.5, 1.0, 1.5, 2.0, 2.5, 1.2, 0.8], "butter": [1.0, 1.5, 2.0, 1.2, 1.8, 1.1, 1.7]}
LIKES = [3, 8, 12, 11, 16, 7, 9]
QUADRATIC = "{utility: {kind: quadratic, features: [amounts]}}"


def said(config: Path, *overrides: str) -> tuple[Caveat, ...]:
    return forewarnings(Examiners(build_study(load(config, list(overrides)))))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Seven recipes and a linear utility of two ingredients: nothing is wrong with it."""
    return Tables(RECIPES, {"all": LIKES}).write(tmp_path / "study", BOUNDS)


@pytest.mark.parametrize("name", ["cake", "sourdough"])
def test_nothing_is_said_of_the_shipped_configs(name: str) -> None:
    assert said(CONFIGS / f"{name}.yaml") == ()


def test_nothing_is_said_of_the_cocktail(cocktail: Path) -> None:
    tables = (f"data.recipes={cocktail}/recipes.csv", f"data.ratings={cocktail}/ratings.csv")
    assert said(CONFIGS / "cocktail.yaml", *tables) == ()


def test_nothing_is_said_of_a_study_without_fault(study: Path) -> None:
    assert said(study) == ()


def test_settings_without_effect_are_told(tmp_path: Path) -> None:
    study = Tables(RECIPES, {"all": LIKES}).write(tmp_path / "study", BOUNDS, GROUPED)
    assert said(study, "max_rollbacks=1") == (
        Caveat(
            "max_rollbacks",
            NOT_KNOWN,
            "max_rollbacks has no effect: every step sees all the data (`batch: all`), so that there is no window to "
            "leave out and nothing to go back for",
        ),
        Caveat(
            "model.utility.groups", NOT_KNOWN, "model.utility.groups has no effect: every customer has segment = all"
        ),
    )


def test_the_main_job_s_design_is_looked_at_once_and_in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """18,000 responses; time of this process, which others on the machine do not lengthen."""
    calls = []

    def counted(*given: Any) -> Design | None:
        calls.append(given)
        return design_of(*given)

    monkeypatch.setattr("optim.analysis.fit_findings.design_of", counted)
    examiners = Examiners(build_study(load(CONFIGS / "cake.yaml")))
    begun = time.thread_time()
    assert forewarnings(examiners) == ()
    assert time.thread_time() - begun < 1
    assert len(calls) == 1


def test_more_coefficients_than_recipes_are_told_with_the_rank(tmp_path: Path) -> None:
    few = {name: amounts[:4] for name, amounts in RECIPES.items()}
    (one,) = said(Tables(few, {"all": LIKES[:4]}).write(tmp_path / "few", BOUNDS, QUADRATIC))
    assert (one.about, one.status) == ("likelihood.parameters", NOT_DETERMINED)
    assert "6 coefficients, 4 distinct recipes: rank 4" in one.text
    assert "taste at least 6 different recipes, or choose a simpler utility" in one.text


def test_recipes_that_are_held_out_determine_nothing(tmp_path: Path) -> None:
    """Seven recipes determine six coefficients; five of them do not."""
    config = Tables(RECIPES, {"all": LIKES}).write(tmp_path / "split", BOUNDS, QUADRATIC)
    assert said(config) == ()
    (one,) = said(config, "data.evaluation={share: 0.3, by: recipe}")
    assert "6 coefficients, 5 distinct recipes: rank 5" in one.text


def test_amounts_of_one_sum_are_named(tmp_path: Path) -> None:
    butter = [round(3 - sugar, 2) for sugar in RECIPES["sugar"]]
    tables = Tables({"sugar": RECIPES["sugar"], "butter": butter}, {"all": LIKES})
    config = tables.write(tmp_path / "sum", "{sugar: {min: 0.5, max: 2.5}, butter: {min: 0.5, max: 2.5}}")
    (one,) = said(config)
    assert "sugar + butter is always 3, so the constant is not determined: leave it out" in one.text
    assert said(config, "model.utility.intercept=false") == ()


def test_what_was_always_the_same_in_one_group_is_named(tmp_path: Path) -> None:
    sugar, butter = [*RECIPES["sugar"], 1.0, 1.5, 2.0], [*RECIPES["butter"], 1.4, 1.4, 1.4]
    likes: dict[str, list[int | None]] = {"north": [*[None] * 7, 6, 7, 9], "south": [*LIKES, 6, 9, 11]}
    tables = Tables({"sugar": sugar, "butter": butter}, likes)
    (one,) = said(tables.write(tmp_path / "always", BOUNDS, GROUPED))
    assert "in north butter was always 1.4" in one.text
    assert "south" not in one.text


def test_a_network_with_more_parameters_than_recipes_is_named(study: Path) -> None:
    (one,) = said(study, "model.utility={kind: mlp, features: [amounts], hidden: [4]}")
    assert one.status == NOT_DETERMINED
    assert "17 parameters, 7 distinct recipes" in one.text  # 2 × 4 + 4 + 4 + 1
    assert "by: recipe" in one.text


@pytest.mark.parametrize(("model", "words"), [(GROUPED, "children: nobody"), (LINEAR, "segment = children: nobody")])
def test_those_whom_nobody_asked_are_named(tmp_path: Path, model: str, words: str) -> None:
    (one,) = said(Tables(RECIPES, {"north": LIKES, "children": None}).write(tmp_path / "some", BOUNDS, model))
    assert one.status == NOT_KNOWN
    assert one.text.startswith(f"{words} was asked")


def test_those_whom_nobody_asked_are_named_for_a_network_too(tmp_path: Path) -> None:
    model = "{utility: {kind: mlp, features: [amounts], groups: segment, hidden: [1]}}"
    found = said(Tables(RECIPES, {"north": LIKES, "children": None}).write(tmp_path / "some", BOUNDS, model))
    assert any("children: nobody was asked" in one.text for one in found)


def test_a_group_that_nobody_asked_tasted_no_recipe(tmp_path: Path) -> None:
    """8 parameters and more (2 weights, a bias and an output a unit), 7 recipes that somebody tasted."""
    model = "{utility: {kind: mlp, features: [amounts], groups: segment, hidden: [2]}}"
    found = said(Tables(RECIPES, {"north": LIKES, "children": None}).write(tmp_path / "some", BOUNDS, model))
    assert any("7 distinct recipes" in one.text for one in found)


def test_settings_of_the_rate_that_do_nothing_are_told_by_stage(study: Path) -> None:
    warm_up = "{schedule: warmup_constant_schedule, init_value: 0, peak_value: 0.1, warmup_steps: 500}"
    fit, bake = said(
        study,
        "stages.fit.optimizer={name: adam, learning_rate: 0}",
        f"stages.bake.optimizer.learning_rate={warm_up}",
    )
    assert (fit.about, fit.status) == ("stages.fit", NOT_SETTLED)
    assert "learning_rate is 0 throughout: nothing will be trained" in fit.text
    assert (bake.about, bake.status) == ("stages.bake", NOT_SETTLED)
    assert "the warm-up takes 500 steps, and the stage ends after 80 of them" in bake.text


def test_of_properties_that_are_yet_to_be_fitted_nothing_is_said(tmp_path: Path) -> None:
    """Before the property model is trained all its predictions are alike, which says nothing of the data."""
    tables = Tables({**RECIPES, "sour": [3.0, 2.0, 4.0, 5.0, 1.0, 2.5, 3.5]}, {"all": LIKES})
    model = "{properties: {kind: scheffe, columns: [sour]}, utility: {kind: linear, features: [sour]}}"
    config = tables.write(tmp_path / "measured", BOUNDS, model)
    newton = "kind: fit, length: 3, optimizer: {name: newton}"
    stages = f"{{measure: {{{newton}, loss: {{kind: property_error}}}}, fit: {{{newton}}}}}"
    assert said(config, f"stages={stages}") == ()
