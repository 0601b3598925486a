"""A config is loaded whole, or every mistake in it is named at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from optim.config.diagnosis import diagnose
from optim.config.errors import UserError
from optim.config.loading import load, validate
from optim.config.schema import Bake, Config, Fit
from optim.config.source import read_text
from tests.config.conftest import CAKE, Loaded, Refused


def test_a_config_is_loaded_with_its_defaults(loaded: Loaded) -> None:
    config = loaded()
    assert list(config.stages) == ["fit", "bake"]
    assert isinstance(config.stages["fit"], Fit)
    assert isinstance(config.stages["bake"], Bake)
    assert config.stages["bake"].starts == 8
    assert config.ingredients["butter"].max == 3.0
    assert config.checkpoint.every == "10%"


def test_overrides_reach_numbers_lists_and_blocks(loaded: Loaded) -> None:
    config = loaded(
        "stages.bake.optimizer.learning_rate=5e-2",
        "model.utility.features=[amounts, properties]",
        "stages.fit.optimizer={name: rmsprop, learning_rate: {schedule: constant_schedule, value: 1}}",
        "log.every=7",
    )
    assert config.stages["bake"].optimizer.parameters()["learning_rate"] == 0.05
    assert config.model.utility is not None
    assert config.model.utility.features == ["amounts", "properties"]
    assert config.stages["fit"].optimizer.name == "rmsprop"
    assert config.log.every == 7


def test_anchors_and_merges_work(loaded: Loaded) -> None:
    text = CAKE.replace("eggs: {min: 0.5, max: 5}", "eggs: &e {min: 0.5, max: 5}").replace(
        "flour: {min: 0.5, max: 5}", "flour: {<<: *e, max: 4}"
    )
    flour = loaded(text=text).ingredients["flour"]
    assert (flour.min, flour.max) == (0.5, 4.0)


def test_all_the_mistakes_of_a_file_are_named_at_once(spoilt: Refused) -> None:
    assert spoilt(
        "butter: {min: 0.2, max: 3}", "butter: {min: 3, max: 2}",
        "length: 200", "lenght: two hundred",
        "{name: adam, learning_rate: 0.1}", "{name: adma, learning_rat: fast, moment: 1}",
        "{name: sgd, learning_rate: 0.01}", "{name: sgd, learning_rate: 0.01, limits: {buter: 1}}",
        "sugar: {min: 0.2, max: 4}", "sugar: {min: 0.2, max: '4'}",
    ) == [
        "study.yaml:7: ingredients.butter.min: min 3 is above max 2: lower min or raise max",
        "study.yaml:10: ingredients.sugar.max: expected a number of at least 0, got '4' "
        "(a number in quotes is text: remove the quotes)",
        "study.yaml:17: stages.fit.lenght: unknown key; did you mean `length`?",
        "study.yaml:17: stages.fit.lenght: expected steps (a positive integer) or epochs (`20 epochs`), got "
        "'two hundred'",
        "study.yaml:18: stages.fit.optimizer.name: expected one of 21 names, got 'adma'; did you mean `adam`?",
        "study.yaml:18: stages.fit.optimizer.learning_rat: unknown key; did you mean `learning_rate`?",
        "study.yaml:18: stages.fit.optimizer.moment: unknown key: expected `name`, `clip_global_norm`, "
        "`clip_customer_norm`, `limits`, `learning_rate`, `b1`, `b2`, `eps`, `eps_root` or `nesterov`",
        "study.yaml:18: stages.fit.optimizer.learning_rat: expected a number of at least 0 or a mapping with "
        "`schedule`, got 'fast'",
        "study.yaml:22: stages.bake.optimizer.limits.buter: unknown ingredient `buter`; did you mean `butter`?",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed=true", "seed: expected a whole number of at least 0 and below 4294967296, got true"),
        ("seed=1.5", "seed: expected a whole number of at least 0 and below 4294967296, got 1.5"),
        ("seed=-1", "seed: expected a whole number of at least 0 and below 4294967296, got -1"),
        ("seed=", "seed: expected a whole number of at least 0 and below 4294967296, got nothing"),
        ("precision=flout32", "precision: expected `float32` or `float64`, got 'flout32'; did you mean `float32`?"),
        ("chunk=0", "chunk: expected a whole number above 0 or `auto`, got 0"),
        ("chunk=aut", "chunk: expected a whole number above 0 or `auto`, got 'aut'; did you mean `auto`?"),
        ("total=.inf", "total: expected a number above 0, got inf"),
        ("log=3", "log: expected a mapping, got 3"),
        ("data.evaluation=0.2", "data.evaluation: expected a mapping with `share`, got 0.2"),
        ("data.evaluation={}", "data.evaluation.share: is missing: expected a number above 0 and below 1"),
        ("stages.bake.starts=[]", "stages.bake.starts: is empty: give at least one recipe, or how many to draw"),
        (
            "stages.bake.starts=some",
            "stages.bake.starts: expected a whole number above 0 or a list of a mapping to a number (of a complex "
            "setting [real, imaginary]) or `previous`, got",
        ),
        ("stages.bake.score.kind=likin", "stages.bake.score.kind: expected `liking`, `deliciousness` or `own`, "
         "got 'likin'; did you mean `liking`?"),
        ("stages.bake.score={}", "stages.bake.score.kind: is missing: expected `liking`, `deliciousness` or `own`"),
        ("stages.bake.score.kind=3", "stages.bake.score.kind: expected `liking`, `deliciousness` or `own`, got 3"),
        ("stages.bake.score=[1]", "stages.bake.score: expected a mapping with `kind`: `liking`, `deliciousness` or "
         "`own`, got a list"),
        ("stages.bake.score={knd: liking}", "stages.bake.score.knd: unknown key; did you mean `kind`?"),
        ("stages.fit.optimizer.learning_rate={schedule: cosine_deca}", "stages.fit.optimizer.learning_rate.schedule: "
         "expected one of 14 names, got 'cosine_deca'"),
        ("stages.fit.optimizer.b1=1", "stages.fit.optimizer.b1: expected a number of at least 0 and below 1, got 1"),
        ("stages.fit.loss={kind: own, path: mine}", "stages.fit.loss.path: expected an import path: "
         "`package.module:Name` or `file.py:Name`, got 'mine'"),
        ("stages.fit.train=[utilty]", "stages.fit.train.0: expected `properties`, `utility` or `link`, got 'utilty'; "
         "did you mean `utility`?"),
        ("model.utility.features=x", "model.utility.features: expected a list (not empty) of text, got 'x'"),
        ("model.utility.features=[]", "model.utility.features: is empty: expected at least one item"),
        ("ingredients={}", "ingredients: is empty: expected at least one entry"),
        ("ingredients.2nd={max: 3}", "ingredients.2nd: expected a name of letters, digits, _ and -, the first a letter "
         "for a key, got '2nd'"),
        ("data.like={at_least: 6, scale: [1]}", "data.like.scale: expected a list of 2 numbers, got a list"),
        ("model.properties={kind: scheffe, columns: [a], degree: '2'}",
         "model.properties.degree: expected `1` or `2`, got '2' (a number in quotes is text: remove the quotes)"),
        ("ingredients={7: {max: 1}}", "ingredients.7: expected a name of letters, digits, _ and -, the first a letter"),
        ("keep=3", "keep: unknown key; it belongs at `checkpoint.keep`"),
        ("sed=3", "sed: unknown key; did you mean `seed`?"),
        ("stage.bake.length=3", "stage: unknown key; did you mean `stages`?"),
        ("stages.extra.length=3", "stages.extra.kind: is missing: expected `fit` or `bake`"),
        ("stags.fit.length=3", "stags: unknown key; did you mean `stages`?"),
        ("stages.fit.optimizer.momentum=0.9", "stages.fit.optimizer.momentum: unknown key: `adam` has no `momentum`; "
         "remove it, or use `sgd` or `rmsprop`"),
        ("stages.fit.score={kind: liking}", "stages.fit.score: unknown key: `fit` has no `score`; remove it, or use "
         "`bake`"),
        ("stages.fit.optimizer={name: newton, learning_rate: 1}", "stages.fit.optimizer.learning_rate: unknown key: "
         "`newton` has no `learning_rate`; remove it, or use another name"),
    ],
)  # fmt: skip
def test_a_wrong_override_is_refused(override: str, expected: str, refused: Refused) -> None:
    assert any(problem.startswith(f"command line: {expected}") for problem in refused(override)), refused(override)


def test_a_key_that_other_kinds_have_is_not_sent_to_where_it_stands(refused: Refused) -> None:
    text = CAKE.replace("{name: adam, learning_rate: 0.1}", "{name: adamw, learning_rate: 0.1, weight_decay: 0.1}")
    assert refused("stages.fit.optimizer.name=adam", text=text) == [
        "study.yaml:18: stages.fit.optimizer.weight_decay: unknown key: `adam` has no `weight_decay`; remove it, or "
        "use `adamw`, `adamaxw`, `nadamw`, `lion`, `adadelta` or `adan`"
    ]


def test_a_decimal_comma_is_named(spoilt: Refused) -> None:
    (problem,) = spoilt("{name: adam, learning_rate: 0.1}", "{name: adam, learning_rate: 0,05}")
    assert problem.endswith("unknown key: a comma ends a value, so write decimal numbers with a point (0.5)")


def test_a_missing_key_points_at_the_block_that_lacks_it(spoilt: Refused) -> None:
    (problem,) = spoilt("    length: 200\n", "")
    assert problem == (
        "study.yaml:15: stages.fit.length: is missing: expected steps (a positive integer) or epochs (`20 epochs`)"
    )


def test_a_stage_that_cannot_be_read_does_not_hide_the_mistakes_of_others(spoilt: Refused) -> None:
    problems = spoilt(
        "kind: fit", "kind: zzz", "score: {kind: liking}", "score: {kind: deliciousness, targets: {sweet: 1}}"
    )
    assert problems == [
        "study.yaml:16: stages.fit.kind: expected `fit` or `bake`, got 'zzz'",
        "study.yaml:23: stages.bake.score.targets.sweet: unknown property `sweet`; did you mean `sweetness`?",
    ]


def test_problems_of_files_and_overrides_come_together(refused: Refused) -> None:
    problems = refused("bar", "seed=x", text=CAKE.replace("kind: sgd", "kind: sdg") + "extra: 1\n")
    assert [problem.split(": ")[0] for problem in problems] == ["command line", "command line", "study.yaml:24"]


def test_duplicate_keys_are_refused_beside_the_rest(refused: Refused) -> None:
    problems = refused(text=CAKE + "seed: 1\nseed: 2\nsed: 3\n")
    assert problems == [
        "study.yaml:25: seed: is given twice, on lines 24 and 25: keep one",
        "study.yaml:26: sed: unknown key; did you mean `seed`?",
    ]


TABLES = """\
data: {recipes: r.csv, ratings: sub/../q.csv, customers: /abs/c.csv, like: {at_least: 6}}
ingredients: {gin: {max: 1}}
model: {utility: {kind: own, path: mine.py:Utility}}
stages:
  fit: {kind: fit, length: 1, loss: {kind: own, path: package.module:loss}, optimizer: {name: lbfgs}}
"""


def test_paths_of_the_file_are_relative_to_the_file(loaded: Loaded, tmp_path: Path) -> None:
    config = loaded(text=TABLES)
    assert config.data is not None
    assert (config.data.recipes, config.data.ratings) == (str(tmp_path / "r.csv"), str(tmp_path / "q.csv"))
    assert config.data.customers == "/abs/c.csv"
    assert config.model.utility is not None
    assert config.model.utility.model_dump()["path"] == f"{tmp_path}/mine.py:Utility"
    assert config.stages["fit"].model_dump()["loss"]["path"] == "package.module:loss"


@pytest.mark.parametrize(
    "override", ["data.recipes=r.csv", "data={recipes: r.csv, ratings: q.csv, like: {at_least: 6}}"]
)
def test_paths_of_an_override_are_relative_to_the_working_directory(
    override: str, loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = loaded(override, text=TABLES)
    assert config.data is not None
    assert config.data.recipes == str(tmp_path / "elsewhere" / "r.csv")


def test_a_home_folder_is_expanded(loaded: Loaded) -> None:
    config = loaded("data.recipes=~/r.csv", text=TABLES)
    assert config.data is not None
    assert config.data.recipes == os.path.expanduser("~/r.csv")  # noqa: PTH111


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load(tmp_path / "none.yaml")


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 9)
    | st.floats()
    | st.sampled_from(["", "x", "fit", "adam", "10%", "all"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["kind", "name", "max", "schedule", "x"]) | st.integers(0, 3), inner, max_size=3
        )
    ),
    max_leaves=6,
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(inner for key, item in items for inner in paths(item, (*path, key)))]


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_whatever_is_refused_is_explained(data: st.DataObject) -> None:
    """The walk that words the mistakes and pydantic, which decides, agree on what is wrong."""
    config = read_text(CAKE, "cake").value
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from([path for path in paths(config) if path]))
        holder = config
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = data.draw(values)
    try:
        Config.model_validate(config)
        refused = False
    except ValidationError:
        refused = True
    assert bool(diagnose(Config, config)[0]) is refused
    assert validate(config)[1] or not refused


def test_rejecting_a_config_imports_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("sed: 1\n")
    script = (
        "import sys\nfrom optim.config.loading import load\nfrom optim.config.errors import UserError\n"
        "try: load(sys.argv[1])\nexcept UserError: print(*sys.modules)"
    )
    run = [sys.executable, "-c", script, str(tmp_path / "a.yaml")]
    modules = subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()
    assert "pydantic" in modules
    assert not {"jax", "numpy", "polars", "flax", "optax", "scipy"} & set(modules)
