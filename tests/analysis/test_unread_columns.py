"""Columns that nothing reads are named once; one that looks like a count gets a warning of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from optim.analysis.fit_findings import Examiners
from optim.analysis.forewarnings import forewarnings
from optim.analysis.unread_columns import unread_columns, unread_lines
from optim.analysis.verdicts import NOT_KNOWN
from optim.config.loading import load
from optim.runs.info import RunInfo
from optim.runs.observer import Silent
from optim.runs.run import train
from optim.study.study import Study, build_study
from tests.analysis.studies import Tables

BOUNDS = "{sugar: {min: 0.5, max: 2.5}}"
SUGAR = [0.5, 1.0, 1.5, 2.0, 2.5, 1.2, 0.8]
LIKES = [3, 8, 12, 11, 16, 7, 9]
FIT = "stages={fit: {kind: fit, length: 1, optimizer: {name: newton}}}"
OWN = """\
import jax.numpy as jnp
from flax import nnx


class Sour(nnx.Module):
    names = ("sour",)

    def __init__(self, ingredients, rngs):
        self.slope = nnx.Param(jnp.zeros(()))

    def __call__(self, amounts):
        return self.slope[...] * amounts


def score(recipe, customer):
    return -(recipe.amounts["sugar"] - customer.columns["age"]) ** 2
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A study whose tables hold no more than it reads, but for `sour`; customers have segments."""
    tables = Tables({"sugar": SUGAR, "sour": SUGAR}, {"north": LIKES, "south": LIKES})
    path = tables.write(tmp_path / "study", BOUNDS)
    (path.parent / "own.py").write_text(OWN)
    return path


def add(config: Path, table: str, **columns: Sequence[object]) -> None:
    """Append columns, whose cells are repeated to the length of the table."""
    path = config.parent / f"{table}.csv"
    header, *rows = path.read_text().splitlines()
    cells = zip(*([values[k % len(values)] for k in range(len(rows))] for values in columns.values()), strict=True)
    lines = [
        ",".join([header, *columns]),
        *(",".join([row, *map(str, more)]) for row, more in zip(rows, cells, strict=True)),
    ]
    path.write_text("\n".join(lines) + "\n")


def study_of(config: Path, *overrides: str) -> Study:
    return build_study(load(config, list(overrides)))


def test_what_is_read_is_not_named(config: Path) -> None:
    """Groups, segments (which the answer looks at), measured properties and columns of scores."""
    add(config, "customers", age=[1.5, 2.0])
    assert unread_columns(study_of(config)) == {"recipes": ("sour",), "customers": ("age",)}
    score = f"stages.bake.score={{kind: own, path: {config.parent}/own.py:score, columns: [age]}}"
    assert unread_columns(study_of(config, score)) == {"recipes": ("sour",)}
    groups = "model.utility.groups=segment"
    assert unread_columns(study_of(config, groups)) == {"recipes": ("sour",), "customers": ("age",)}
    fitted = "model.properties={kind: mlp, columns: [sour]}"
    own = f"model.properties={{kind: own, path: {config.parent}/own.py:Sour}}"
    for properties in (fitted, own):
        assert unread_columns(study_of(config, properties, FIT)) == {"customers": ("age",)}


def test_a_line_for_each_table(config: Path) -> None:
    add(config, "ratings", session=[1, 2], remark=["dry", ""])
    add(config, "recipes", **{f"p{k}": [1] for k in range(12)})
    found = unread_columns(study_of(config))
    recipes, ratings = unread_lines(found)
    assert recipes.startswith("data.recipes: nothing reads the columns `sour`, `p0`, `p1`")
    assert recipes.endswith("`p8` and 3 more")
    assert ratings == "data.ratings: nothing reads the columns `session`, `remark`"


def test_simulated_customers_have_no_tables() -> None:
    configs = Path(__file__).parent.parent.parent / "configs"
    assert unread_columns(study_of(configs / "cake.yaml")) == {}


@pytest.mark.parametrize(("table", "name"), [("ratings", "Count"), ("ratings", "n"), ("customers", "WEIGHT")])
def test_what_looks_like_a_count_gets_a_warning_of_its_own(config: Path, table: str, name: str) -> None:
    add(config, table, **{name: [3]})
    study = study_of(config)
    (one,) = forewarnings(Examiners(study))
    assert (one.about, one.status) == (f"data.{table}", NOT_KNOWN)
    assert one.text.startswith(f"nothing reads the column `{name}` of data.{table}: every row counts once")
    assert not any(f"`{name}`" in line for line in unread_lines(unread_columns(study)))


def test_a_weight_of_a_recipe_is_no_count(config: Path) -> None:
    add(config, "recipes", weight=[3])
    study = study_of(config)
    assert forewarnings(Examiners(study)) == ()
    assert unread_lines(unread_columns(study)) == ["data.recipes: nothing reads the columns `sour`, `weight`"]


def test_the_case_of_the_counts(case: Callable[[str], Path]) -> None:
    """Eight rows that stand for 160 tasters."""
    found = forewarnings(Examiners(study_of(case("counts") / "config.yaml")))
    assert any("nothing reads the column `count` of data.ratings: every row counts once" in one.text for one in found)


class Listening(Silent):
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def test_a_run_says_it_before_training_and_keeps_it_in_its_history(config: Path, tmp_path: Path) -> None:
    heard = Listening()
    outcome = train(load(config, [FIT]), runs_dir=tmp_path / "runs", name="run", stem="run", observer=heard)
    assert heard.said == ["data.recipes: nothing reads the column `sour`"]
    start = RunInfo.load(outcome.directory.info).history[0]
    assert (start.event, start.details) == ("start", {"unread_columns": {"recipes": ["sour"]}})
