"""Settings that only the built study can tell to be without effect are said before training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from optim.analysis.answer import answer
from optim.analysis.chosen_end import ChosenEnd
from optim.analysis.idle_settings import idle_settings
from optim.analysis.unread_columns import unread_columns
from optim.config.loading import load
from optim.study.study import Study, build_study
from tests.analysis.studies import Answers, Tables

BOUNDS = "{sugar: {min: 0.5, max: 2.5}}"
LIKES = {"north": [1, 2, 3], "south": [3, 2, 1]}
SPLIT = "data.evaluation={share: 0.4}"
SCORES = """\
import dataclasses

import jax


def by_tree(recipe, customer):
    weighted = jax.tree.map(lambda column, weight: column * weight, customer.columns, {"age": 0.5, "size": 0.1})
    return recipe.amounts["sugar"] * sum(weighted.values())


def by_cond(recipe, customer):
    chosen = jax.lax.cond(
        recipe.amounts["sugar"] > 1, lambda: customer.columns, lambda: {"age": customer.columns["size"], "size": 1.0}
    )
    return recipe.amounts["sugar"] * chosen["age"]


def by_asdict(recipe, customer):
    return recipe.amounts["sugar"] * dataclasses.asdict(customer)["columns"]["age"]


def by_get(recipe, customer):
    return recipe.amounts["sugar"] * customer.columns.get("age", 1.0)


def by_vars(recipe, customer):
    return recipe.amounts["sugar"] * vars(customer)["columns"].setdefault("age", 1.0)


def by_age(recipe, customer):
    return -(recipe.amounts["sugar"] - customer.columns["age"]) ** 2


def of_all(recipe, customer):
    return -(recipe.amounts["sugar"] - sum(customer.columns.values())) ** 2


def of_amounts(recipe, customer):
    return -(recipe.amounts["sugar"] - 1) ** 2
"""

Built = Callable[..., Study]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit of 12 steps and a bake of 80; eight customers in two segments, with an age and a size."""
    tables = Tables({"sugar": [0.5, 1.5, 2.5]}, LIKES, customers=4)
    path = tables.write(tmp_path_factory.mktemp("idle") / "study", BOUNDS)
    table = path.parent / "customers.csv"
    header, *rows = table.read_text().splitlines()
    table.write_text("\n".join([f"{header},age,size", *(f"{row},{1 + 0.1 * at},2" for at, row in enumerate(rows))]))
    (path.parent / "own.py").write_text(SCORES)
    return path


@pytest.fixture
def said(config: Path) -> Callable[..., dict[str, str]]:
    return lambda *overrides: dict(idle_settings(build_study(load(config, overrides))))


Said = Callable[..., dict[str, str]]


def own(config: Path, name: str, *columns: str) -> str:
    return f"stages.bake.score={{kind: own, path: '{config.parent}/own.py:{name}', columns: [{', '.join(columns)}]}}"


# Cadences


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("log.every=81", "it is longer than any stage (at most 80 steps), so that only the first and the last step of "
         "each are logged"),
        ("checkpoint.every=81", "it is longer than any stage (at most 80 steps), so that only the ends of stages are "
         "saved"),
        ("checkpoint.keep_every=92", "the run has 92 steps, of which none before the last is a multiple of it"),
    ],
)  # fmt: skip
def test_a_cadence_longer_than_the_run_is_told(override: str, expected: str, said: Said) -> None:
    key, _, steps = override.partition("=")
    assert said(override) == {key: f"has no effect: {expected}"}
    assert said(f"{key}={int(steps) - 1}") == {}


def test_a_cadence_of_a_whole_stage_is_none_of_them(said: Said) -> None:
    assert said("log.every=100%", "checkpoint.every=100%") == {}


# Evaluations


def test_a_single_evaluation_has_no_patience(said: Said) -> None:
    found = said(SPLIT, "stages.fit.evaluate={every: 13, patience: 1}")
    assert found == {
        "stages.fit.evaluate.every": "has no effect: the stage has 12 steps, so that only its end is evaluated",
        "stages.fit.evaluate.patience": "has no effect: the only evaluation is at the end of the stage; make `every` "
        "shorter",
    }


@pytest.mark.parametrize(("every", "evaluations"), [(6, 2), (5, 3), (3, 4)])
def test_patience_that_cannot_run_out_before_the_end_is_told(every: int, evaluations: int, said: Said) -> None:
    """The first evaluation is always the best so far, and at the last one the stage ends anyhow."""
    least = evaluations - 1
    found = said(SPLIT, f"stages.fit.evaluate={{every: {every}, patience: {least}}}")
    assert found["stages.fit.evaluate.patience"].startswith(f"cannot run out: of {evaluations} evaluations the first")
    if least > 1:
        assert said(SPLIT, f"stages.fit.evaluate={{every: {every}, patience: {least - 1}}}") == {}


@pytest.mark.parametrize(("every", "chose"), [pytest.param(5000, False, marks=pytest.mark.long), (6, True)])
def test_the_held_out_responses_choose_among_several_evaluations_alone(config: Path, every: int, chose: bool) -> None:
    lbfgs = f"{{kind: fit, length: 12, optimizer: {{name: lbfgs}}, evaluate: {{every: {every}, patience: 3}}}}"
    found = Answers()(config, SPLIT, f"stages={{fit: {lbfgs}}}")
    resumed = answer(found.study, found.state, chosen_end=ChosenEnd("run", "fit/eval/loss", 12, 0.5))
    for likelihood in (found.likelihood, resumed["likelihood"]):
        assert ("chose_where_to_stop" in likelihood["held_out"]) == chose


# Batches


def test_batches_of_customers_who_are_alike_to_the_score_are_told(config: Path, said: Said) -> None:
    alike = {
        "stages.bake.batch": "has no effect: the score is the same for every customer, so that batches differ in the "
        "rounding of sums alone"
    }
    assert said("stages.bake.batch=3") == alike  # one set of weights for all
    assert said("stages.bake.batch=3", "model.utility.groups=segment") == {}
    groups = "model.utility.groups=segment"
    assert said("stages.bake.batch=3", groups, own(config, "of_amounts")) == alike
    assert said("stages.bake.batch=3", own(config, "by_age", "age")) == {}
    assert said("stages.bake.batch=3", own(config, "of_all", "size")) == alike  # which is 2 of everyone


def test_a_batch_of_everyone_is_told(said: Said) -> None:
    optimizer = "stages.fit.optimizer={name: sgd, learning_rate: 0.1}"
    assert said(optimizer, "stages.fit.batch=7") == {}
    assert said(optimizer, "stages.fit.batch=8") == {
        "stages.fit.batch": "has no effect: it is all 8 there are, as with `batch: all`, but for the rounding of sums"
    }


def test_a_threshold_that_is_not_reached_in_a_stage_is_told(said: Said) -> None:
    """With b2 = 0.9 the certainty after 80 steps is 19 − 160 · 0.9⁸⁰ / (1 − 0.9⁸⁰) = 18.97."""
    radam = lambda threshold: (
        f"stages.bake.optimizer={{name: radam, learning_rate: 0.1, b2: 0.9, threshold: {threshold}}}"
    )
    assert said(radam(18.96)) == {}
    assert said(radam(18.98)) == {
        "stages.bake.optimizer.threshold": "has no effect: the certainty grows to 18.97 in 80 steps, so that the "
        "second moment is never used"
    }


# Columns


def test_a_column_that_the_score_does_not_read_is_told_and_named_as_unread(config: Path, said: Said) -> None:
    score = own(config, "by_age", "size", "age")
    assert said(score) == {"stages.bake.score.columns.0": "has no effect: the score does not read `size`"}
    assert unread_columns(build_study(load(config, [score]))) == {"customers": ("size",)}
    assert said(own(config, "of_all", "size", "age")) == {}


@pytest.mark.parametrize(
    ("name", "unread"),
    [("by_tree", ()), ("by_cond", ()), ("by_asdict", ()), ("by_get", ("size",)), ("by_vars", ("size",))],
)
def test_a_read_column_is_noticed_however_it_is_read(
    config: Path, said: Said, name: str, unread: tuple[str, ...]
) -> None:
    score = own(config, name, "age", "size")
    places = {"age": "stages.bake.score.columns.0", "size": "stages.bake.score.columns.1"}
    expected = {places[column]: f"has no effect: the score does not read `{column}`" for column in unread}
    assert said(score) == expected
